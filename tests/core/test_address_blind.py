"""Whether a node can see an address at all: where its probes would not leave, what it saw counts no more."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from floatingip.agent.effects import Probing
from floatingip.core import timing
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni
from floatingip.core.health import HealthState
from floatingip.core.model import Carry
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.probe import ProbeOutcome, ProbeResult
from tests.core.nodes import ADDRESS, ME, NOTHING, OTHER, SOUND, Node, eni, held_by, mover, now, others

ELSEWHERE = "10.0.0.100/32 is on kube-ipvs0 of this node, so 10.0.0.100 cannot be probed from here"
BLIND = replace(NOTHING, blind=ELSEWHERE)


def probes(made: Node) -> bool:
    """Whether probes are sent."""
    return bool(made.address.answers.probings())


def results(made: Node, outcome: ProbeOutcome, *, at: float, detail: str = "") -> None:
    """Two probes with this outcome, which is enough for UP."""
    for sent_at in (at, at + 0.1):
        probing = Probing(str(made.target), ADDRESS, 0.5, 0.1)
        made.address.answers.probed(probing, ProbeResult(sent_at, sent_at + 0.01, outcome, detail))


def test_nothing_is_probed_before_it_is_known_that_it_would_leave() -> None:
    """A probe that hears its own node sees the address UP for ever."""
    made = Node()
    made.looked(eni(holder=OTHER))
    made.step()
    assert not probes(made), "the kernel was not asked yet"
    assert not probes(held_by(OTHER, BLIND))
    assert probes(held_by(OTHER, NOTHING))


def test_a_node_that_goes_blind_says_so_and_forgets_what_it_saw() -> None:
    """Else it would tell the others for ever that it sees the address UP, and hold their takeover up."""
    made = held_by(OTHER, NOTHING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    assert made.address.sees_up()
    assert made.address.lack.words == ""
    made.found(BLIND)
    results(made, ProbeOutcome.ANSWERED, at=made.address.now - 1.0)
    assert (made.address.answers.health.state, made.address.sees_up(), probes(made)) == (HealthState.INIT, "", False)
    assert made.address.lack.words == ELSEWHERE
    made.found(NOTHING)
    assert (made.address.lack.words, probes(made)) == ("", True)
    assert "10.0.0.100 can be probed from here again" in made.told.log


def test_a_blind_node_is_told_as_an_error_and_again_while_it_lasts() -> None:
    """Not with each decision."""
    made = held_by(OTHER, BLIND)
    for seconds in (0.0, 0.0, timing.SAID_AGAIN):
        now.go_on(seconds)
        made.step()
    assert made.told.log.count("level=error event=blind") == 2


def test_a_holder_is_never_blind() -> None:
    """It has the address itself, wherever else it is."""
    made = held_by(OTHER, BLIND)
    made.address.reconciled(SOUND, now())
    made.looked(eni(holder=ME))
    made.step()
    assert made.address.blind() == ""


def test_probes_that_cannot_be_sent_for_long_make_a_node_blind() -> None:
    """Whatever the cause; one that is over by then does not, nor does one long ago."""
    made = held_by(OTHER, NOTHING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    results(made, ProbeOutcome.FAILED_HERE, at=now() - 0.9 * timing.UNSENT_FOR, detail="Operation not permitted")
    made.step()
    assert made.address.lack.words == ""
    assert made.address.sees_up()
    results(made, ProbeOutcome.ANSWERED, at=now())
    results(made, ProbeOutcome.FAILED_HERE, at=now() - 1.1 * timing.UNSENT_FOR, detail="Operation not permitted")
    made.step()
    assert made.address.lack.words.startswith("10.0.0.100 cannot be probed from here: Operation not permitted; ")
    assert (made.address.sees_up(), probes(made)) == ("", True)
    results(made, ProbeOutcome.ANSWERED, at=now())
    made.step()
    assert made.address.lack.words == ""


def rejected(made: Node) -> None:
    """Its own connections to the address it rejects, and no ping is answered, for twelve seconds."""
    for _ in range(60):
        now.go_on(0.2)
        at, probing = now(), Probing(str(made.target), ADDRESS, 0.5, 0.1)
        result = ProbeResult(at - 0.15, at, ProbeOutcome.FAILED_HERE, "rejected", ping_lost=True)
        made.address.answers.probed(probing, result)
        made.step()


def test_a_node_that_rejects_its_own_connections_misses_the_pings_of_who_answered_them() -> None:
    """It would go blind, and nobody take the address from the dead."""
    made = held_by(OTHER, NOTHING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    rejected(made)
    assert (made.address.blind(), made.address.answers.health.fell) == ("", True)


def test_a_node_that_rejects_its_own_connections_does_not_miss_the_pings_of_a_former_holder() -> None:
    """The present one may let none in; until it has answered one this node sees nothing."""
    made = held_by(OTHER, NOTHING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    made.looked(replace(eni(holder="i-c"), attachment=Attachment("a2", "i-c", 1, AttachmentStatus.ATTACHED)))
    made.step()
    rejected(made)
    assert made.address.answers.health.state is HealthState.INIT
    assert made.address.blind().startswith("10.0.0.100 cannot be probed from here: rejected; ")


def step_for(made: Node, seconds: float) -> None:
    """It decides once a second, and hears nothing of its probes."""
    for _ in range(int(seconds)):
        now.go_on(1.0)
        made.step()


def test_a_node_whose_probes_tell_nothing_any_more_is_blind() -> None:
    """The thread that sends them hangs: it would tell the others for ever that it sees the address UP."""
    made = held_by(OTHER, NOTHING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    step_for(made, timing.UNSENT_FOR)
    assert (made.address.blind(), bool(made.address.sees_up())) == ("", True)
    step_for(made, 2.0)
    assert made.address.blind().endswith("the thread that probes tells nothing; restart this observer")
    assert not made.address.sees_up()
    results(made, ProbeOutcome.ANSWERED, at=now())
    made.step()
    assert made.address.blind() == ""


def test_whoever_asks_whether_a_node_is_blind_changes_nothing() -> None:
    """However late: only the decisions, of which there is one each second, tell whether it stood still itself."""
    made = held_by(OTHER, NOTHING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    step_for(made, timing.UNSENT_FOR + 2.0)
    blind = made.address.blind()
    assert made.address.answers.why_blind(NOTHING, now() + 3600.0) == blind != ""
    assert made.address.blind() == blind


def test_a_node_that_stood_still_itself_is_not_blind_for_that() -> None:
    """Nor one that had nothing to probe."""
    made = held_by(OTHER, NOTHING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    now.go_on(3600.0)
    made.step()
    assert made.address.blind() == ""
    made.found(BLIND)
    step_for(made, 60.0)
    made.found(NOTHING)
    assert made.address.blind() == ""


@pytest.mark.parametrize("between", ["held", "blind"])
def test_a_probe_that_could_not_be_sent_before_a_pause_of_probing_makes_no_node_blind_after_it(between: str) -> None:
    """Such as the one that a new holder answered itself, as the address came: it says nothing of when that has left."""
    made = held_by(OTHER, NOTHING)
    results(made, ProbeOutcome.FAILED_HERE, at=now(), detail="this node has answered itself")
    made.found(SOUND if between == "held" else BLIND)
    if between == "held":
        made.looked(eni(holder=ME))
    made.step()
    assert not probes(made)
    now.go_on(2 * timing.UNSENT_FOR)
    made.looked(eni(holder=OTHER))
    made.found(NOTHING)
    made.step()
    assert (made.address.blind(), probes(made)) == ("", True)
    assert "answered itself" not in made.told.log


@pytest.mark.parametrize(("make", "shown"), [(Node, eni(holder=OTHER)), (mover, others(ADDRESS))], ids=list(Carry))
def test_a_standby_is_not_ready_while_what_is_plumbed_ahead_is_not_sound(make: Callable[[], Node], shown: Eni) -> None:
    """It would not carry the address any better than that."""
    said = "forwarding: net.ipv4.ip_forward is 0"
    made = make()
    made.looked(shown)
    made.found(PlumbingReport(PlumbingState.UNSOUND, problem=said, extent=Extent.AHEAD))
    assert made.address.lack.words == f"this node could not carry the address: {said}"
