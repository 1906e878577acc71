"""What follows from what Kubernetes says of the own pod, answer by answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from floatingip.agent import pod as rules
from floatingip.agent.pod import PodMemory, has_answered, is_refused, is_replaced, learn, leaving, ready_at, written_off
from floatingip.core.node import OwnPod

STOP = 10.0
"""When SIGTERM comes."""

WELL = OwnPod(0.0, answered=True, ready=True, containers_ready=True)
UNREADY = replace(WELL, ready=False)
GONE = OwnPod(0.0, answered=True, gone=True)
DELETED = replace(WELL, deleted=True)
DENIED = OwnPod(0.0, answered=True, problem="403: the role must allow to get pods", refused=True)
REFUSED = OwnPod(0.0, answered=True, problem="401: the API server does not take this pod's token", refused=True)
BUSY = OwnPod(0.0, answered=True, problem="429 for default/floating-ip")
SILENT = OwnPod(0.0, problem="no answer in time")


def told(*answers: tuple[float, OwnPod], stop_at: float | None = None) -> PodMemory:
    """The memory after these answers, each to a question of that time."""
    memory = PodMemory(stop_at=stop_at)
    for asked_at, answer in answers:
        memory = learn(memory, replace(answer, asked_at=asked_at))
    return memory


# The node ends.


@pytest.mark.parametrize(
    ("reason", "leaves"),
    [
        ("EvictionByEvictionAPI", True),
        ("DeletionByTaintManager", True),
        ("DeletionByPodGC", True),
        ("TerminationByKubelet", True),
        ("PreemptionByScheduler", False),
        ("", False),
    ],
)
def test_every_disruption_of_the_node_is_one_and_a_deletion_is_none(reason: str, *, leaves: bool) -> None:
    """Another pod may be scheduled into its place: then the node stays."""
    memory = told((10.1, replace(DELETED, disruption=reason)), stop_at=STOP)
    assert bool(leaving(memory)) is leaves
    assert is_replaced(memory) is not leaves


def test_a_pod_that_was_evicted_as_its_node_was_not_reached_is_replaced_once_it_is() -> None:
    """The control plane taints what it has written off; SIGTERM is the word of a kubelet that it reaches again."""
    evicted = replace(UNREADY, deleted=True, disruption="DeletionByTaintManager")
    memory = told((8.0, UNREADY), (9.0, evicted), stop_at=None)
    assert not leaving(memory)
    assert written_off(memory, 9.0, ready_since=-60.0), "until then it asks to be relieved, if anybody is better"
    back = learn(replace(memory, stop_at=STOP), replace(evicted, asked_at=10.1, ready=True))
    assert not leaving(back)
    assert is_replaced(back)
    tainted = replace(DELETED, disruption="DeletionByTaintManager")
    assert not leaving(told((1.0, WELL), (71.0, SILENT), (72.0, tainted))), "its kubelet was heard first"
    assert leaving(told((1.0, WELL), (41.0, SILENT), (42.0, tainted))), "that is too soon for the control plane"
    drained = replace(evicted, disruption="EvictionByEvictionAPI")
    assert leaving(told((8.0, UNREADY), (9.0, drained))), "a person empties the node"


def test_an_eviction_counts_before_sigterm_comes() -> None:
    """It may never come: kubelet may be dead, which is why the node is drained."""
    assert leaving(told((1.0, replace(DELETED, disruption="EvictionByEvictionAPI"))))
    assert not leaving(told((1.0, replace(WELL, disruption="EvictionByEvictionAPI")))), "it was refused later"


def test_sigterm_without_a_deletion_is_a_shutdown_once_two_answers_say_so() -> None:
    """Both to questions after it: what was known before says nothing."""
    assert not leaving(told((9.0, WELL), (9.5, WELL), stop_at=STOP))
    assert not leaving(told((9.5, WELL), (10.1, WELL), stop_at=STOP))
    assert "shutting down" in leaving(told((10.1, WELL), (10.6, WELL), stop_at=STOP))
    assert "shutting down" in leaving(told((10.1, UNREADY), (10.2, SILENT), (10.6, UNREADY), stop_at=STOP))
    assert not leaving(told((10.1, WELL), (10.6, DELETED), stop_at=STOP))


def test_a_shutdown_stays_one_when_the_pod_is_deleted_meanwhile() -> None:
    """The control plane cleans up behind a node that goes."""
    memory = told((10.1, WELL), (10.6, WELL), (11.1, DELETED), stop_at=STOP)
    assert leaving(memory)
    assert not is_replaced(memory)


def test_a_deletion_that_was_seen_before_sigterm_is_asked_about_again() -> None:
    """The condition that tells an eviction may have come since."""
    assert not is_replaced(told((9.9, DELETED), stop_at=STOP))


@pytest.mark.parametrize(
    ("answer", "refused", "answered"),
    [(DENIED, True, True), (SILENT, False, False), (WELL, False, True), (BUSY, False, True)],
)
def test_only_who_may_not_know_is_refused(answer: OwnPod, *, refused: bool, answered: bool) -> None:
    """Silence may end, and so may an overload."""
    memory = told((10.1, answer), stop_at=STOP)
    assert is_refused(memory) is refused
    assert has_answered(memory) is answered
    before = told((9.9, answer), stop_at=STOP)
    assert not is_refused(before)
    assert not has_answered(before)


# The node is written off.


@pytest.mark.parametrize("sign", [UNREADY, replace(UNREADY, containers_ready=None), GONE])
def test_two_answers_write_a_node_off(sign: OwnPod) -> None:
    """Not one; not with a good one between; not one that is old; and a silent API server says nothing either way."""
    ready_since = -100.0
    assert not written_off(told((1.0, WELL), (3.0, sign)), 3.1, ready_since)
    assert written_off(told((1.0, WELL), (3.0, sign), (3.5, sign)), 3.6, ready_since)
    assert written_off(told((1.0, WELL), (3.0, sign), (3.3, SILENT), (3.5, sign)), 3.6, ready_since)
    assert not written_off(told((1.0, WELL), (3.0, sign), (3.5, sign), (4.0, WELL)), 4.1, ready_since)
    assert not written_off(told((1.0, WELL), (3.0, sign), (3.5, sign)), 13.6, ready_since)


def test_what_kubelet_itself_found_is_no_write_off() -> None:
    """Its probe failed: kubelet lives, so the node is in the books as it was."""
    sign = replace(UNREADY, containers_ready=False)
    assert not written_off(told((1.0, WELL), (3.0, sign), (3.5, sign)), 3.6, -100.0)


@pytest.mark.parametrize(("ready_since", "wrong"), [(None, False), (0.0, False), (-14.0, True)])
def test_kubernetes_is_wrong_only_about_who_has_been_ready_for_long(ready_since: float | None, *, wrong: bool) -> None:
    """An observer that has just begun waits for its first readiness probe."""
    assert bool(written_off(told((1.0, UNREADY), (1.5, UNREADY)), 1.6, ready_since)) is wrong


def test_a_pod_that_was_never_there_is_not_gone() -> None:
    """Its name is wrong; that is a problem, and told."""
    memory = told((1.0, GONE), (3.0, GONE), (5.0, GONE))
    assert not written_off(memory, 5.1, -100.0)
    assert "POD_NAME" in memory.problem


def test_a_forced_end_is_a_write_off_also_with_sigterm() -> None:
    """A Node object's deletion ends its pods at once: no condition is left to read, and no replacement comes."""
    memory = told((9.0, WELL), (10.1, GONE), (10.6, GONE), stop_at=STOP)
    assert not is_replaced(memory)
    assert written_off(memory, 10.7, -100.0)


def test_a_pod_that_is_gone_stays_so_once_its_token_is_refused() -> None:
    """Which is ten seconds later at most: until then nobody may have been able to take over."""
    memory = told((1.0, WELL), (3.0, GONE), (3.3, GONE), *((at, REFUSED) for at in (9.0, 11.0, 20.0, 22.0)))
    assert written_off(memory, 22.1, -100.0)
    assert not memory.problem, "its ServiceAccount is not the cause"
    assert written_off(told((1.0, WELL), (3.0, GONE), (3.3, REFUSED)), 3.4, -100.0), "it may be refused at once"
    assert not written_off(told((1.0, WELL), (3.0, REFUSED), (3.3, REFUSED)), 3.4, -100.0), "others may be refused, too"


# What is told, and to whom it matters.


def test_a_problem_is_told_when_it_lasts() -> None:
    """One question that is lost on its way is none."""
    assert told((1.0, WELL), (3.0, SILENT)).problem == ""
    assert told((1.0, SILENT), (3.0, DENIED)).problem == DENIED.problem
    assert told((1.0, DENIED), (3.0, DENIED), (5.0, WELL)).problem == ""


def test_any_answer_is_a_witness() -> None:
    """Also one that tells nothing of the pod: this node reaches the API server."""
    assert told((1.0, SILENT)).witness_at is None
    assert told((1.0, WELL), (3.0, DENIED), (5.0, SILENT)).witness_at == 3.0
    assert told((1.0, WELL), (3.0, replace(SILENT, proved=True))).witness_at == 3.0, "it is reached, but too slow"


def test_ready_is_what_kubernetes_said_last() -> None:
    """And when."""
    assert ready_at(told((1.0, WELL), (3.0, SILENT))) == 1.0
    assert [ready_at(told((1.0, WELL), (3.0, answer))) for answer in (UNREADY, DELETED, GONE)] == [None] * 3
    assert ready_at(told((1.0, SILENT))) is None


def test_a_suspicion_is_looked_into_at_once() -> None:
    assert [rules.is_suspect(told(*((float(n), UNREADY) for n in range(count)))) for count in range(4)] == [
        False,
        True,
        False,
        False,
    ]
