"""What is told of a holder, of a move that came to nothing, and of a node that could not serve."""

from dataclasses import replace

import pytest

from floatingip.agent.effects import Moved
from floatingip.agent.events import Wrote
from floatingip.agent.readiness import shortcoming
from floatingip.agent.standing import Standing
from floatingip.core import timing
from floatingip.core.decision.decision import Reason, Rule, State
from floatingip.core.ec2 import Attachment, AttachmentStatus
from floatingip.core.errors import CloudError, Denied
from floatingip.core.health import Health, HealthState
from floatingip.core.lack import Lack, Shortcoming
from floatingip.core.model import Carry
from floatingip.core.move import Result
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.writes import Assign, Attach
from tests.core.nodes import (
    ADDRESS,
    ME,
    NO_LINK,
    NOTHING,
    OTHER,
    SOUND,
    SUBNET,
    WALL,
    WITHOUT_NFT,
    Node,
    eni,
    held_by,
    mover,
    now,
    others,
    own,
    sharing,
)


def test_what_was_lost_before_the_address_came_is_nothing_of_the_holders() -> None:
    """It does not probe any more: whether the address answers is not known here, and is no doubt."""
    made = Node()
    made.looked(eni(holder=ME))
    made.address.answers.health = Health("a1", HealthState.DOWN, 11, 1.0, 2.0)
    made.address.answers.services = {30007: Health("a1", HealthState.DOWN, 11, 1.0, 2.0)}
    assert made.found(SOUND) == "HELD_HERE"
    assert (made.address.answers.health, made.address.answers.services) == (Health("a1"), {30007: Health("a1")})
    assert made.address.is_calm()


@pytest.mark.parametrize(
    ("address", "port", "own", "told"),
    [
        (HealthState.UP, HealthState.DOWN, True, 1),
        (HealthState.UP, HealthState.UP, True, 0),
        (HealthState.UP, HealthState.DOWN, False, 0),
        (HealthState.DOWN, HealthState.DOWN, True, 0),
    ],
    ids=["astray", "well", "nowhere", "down"],
)
def test_packets_that_go_astray_on_the_holder_are_told(
    monkeypatch: pytest.MonkeyPatch, address: HealthState, port: HealthState, own: bool, told: int
) -> None:
    """Once, with where to look: its NodePort answers at the node's own address, and not at the floating one."""
    monkeypatch.setattr(timing, "ASTRAY_FOR", 0.0)
    made = Node()
    made.looked(eni(holder=OTHER))
    made.address.reconciled(NO_LINK, now())
    made.address.answers.health = Health("a1", address, 9)
    made.address.answers.services = {30007: Health("a1", port, 9)}
    made.shared.served = {OTHER: {30007: own}}
    made.step()
    made.step()
    assert made.told.log.count("level=warning event=astray") == told
    assert ("but not at 10.0.0.100: 30007" in made.told.log) == bool(told)


@pytest.mark.parametrize(
    ("holder", "level", "event", "said", "result"),
    [
        ("i-c", "info", "lost-race", "i-c has the address now", Result.LOST_RACE),
        (OTHER, "info", "not-moved", f"{OTHER} has kept the address", Result.KEPT),
        ("", "warning", "not-moved", f"this node cannot take the address: {ME} has no free ENI slot", Result.FAILED),
    ],
    ids=["another", "the same", "nobody"],
)
def test_a_move_that_came_to_nothing_is_told_with_its_cause(
    holder: str, level: str, event: str, said: str, result: Result
) -> None:
    """A race is lost to somebody; where nobody could take the address, that is what is said."""
    made = Node()
    judged = Attachment("a1", OTHER, 1, AttachmentStatus.ATTACHED)
    made.address.moves.begin(replace(made.address.decision, rule=Rule.R3), judged, None, now())
    before = len(made.told.log)
    made.shared.slots = 1
    made.looked(eni(holder=holder))
    made.step()
    (line,) = [line for line in made.told.log[before:].splitlines() if "rule=R3" in line]
    assert f"level={level} event={event} " in line
    assert said in line
    [moved] = [effect for effect in made.told.effects if isinstance(effect, Moved)]
    assert (moved.move.address, moved.move.rule, moved.move.result) == (str(ADDRESS), "R3", result)


def test_why_a_node_is_not_ready_has_a_name() -> None:
    """One of few, for those who count; the very words are for people."""
    made = Node()
    shared, address = made.shared, made.address

    def lack() -> str:
        made.step()
        assert bool(address.lack.name) is bool(address.lack.words)
        return address.lack.name

    assert lack() == "EC2_SILENT"
    made.looked(eni(holder=OTHER))
    made.found(NO_LINK)
    assert lack() == ""
    shared.denied = ("ec2:CreateTags",)
    assert lack() == Lack.DENIED
    address.reconciled(PlumbingReport(PlumbingState.UNSOUND, problem="nft is missing", extent=Extent.AHEAD), now())
    assert lack() == Lack.UNSOUND
    made.found(PlumbingReport(PlumbingState.NO_LINK, blind="a rule of others"))
    assert lack() == Lack.BLIND
    shared.slots = 1
    assert lack() == Lack.NO_ROOM
    shared.denied = ("ec2:AttachNetworkInterface",)
    assert lack() == Lack.DENIED
    subnets, shared.subnets = shared.subnets, ()
    assert lack() == Lack.IMPOSSIBLE
    shared.subnets = None
    assert lack() == Lack.SUBNET_UNKNOWN
    shared.subnets = subnets
    made.looked(eni(holder=ME))
    made.found(PlumbingReport(PlumbingState.SOUND, kept_off="nodePortAddresses"))
    assert lack() == Lack.KEPT_OFF


def test_a_node_whose_claim_ec2_refuses_is_not_ready_by_a_name_of_its_own() -> None:
    """Only while it is about to take the address: what was refused says nothing once another node has it."""
    made = Node()
    made.looked(eni())
    made.found(NO_LINK)
    assert made.address.decision.state is State.CLAIMING
    assert made.address.lack.name == ""
    made.address.fail(CloudError("InvalidParameterValue: no"))
    made.step()
    assert made.address.lack.name == Lack.CLAIM_REFUSED
    assert made.address.lack.words == "EC2 does not give this node the address: InvalidParameterValue: no"
    made.looked(eni(holder=OTHER))
    made.step()
    assert made.address.lack.name == ""


def test_what_iam_did_not_let_be_asked_is_no_refusal_any_more_once_ec2_tells_of_the_address() -> None:
    """Somebody has given the permission since: a takeover a month later is not refused for want of it."""
    made = Node()
    made.address.fail(Denied("ec2:DescribeNetworkInterfaces"))
    made.looked(eni())
    made.found(NO_LINK)
    assert made.address.decision.state is State.CLAIMING
    assert (made.address.final, made.address.lack.words) == (None, "")


@pytest.mark.parametrize("carry", list(Carry))
def test_a_node_whose_claims_ec2_accepts_in_vain_is_not_ready(carry: Carry) -> None:
    """An attach may end as detached, and somebody may take away at once what was assigned: it is told, as a refusal
    is, once that is no accident, and until the address is anybody's.
    """
    made, claim = (Node(), Attach("eni-1")) if carry is Carry.ENI else (mover(), Assign("eni-b", ADDRESS))
    free, held = (eni(), eni(holder=OTHER)) if carry is Carry.ENI else (None, others(ADDRESS))

    def try_once() -> str:
        made.address.wrote(Wrote(str(ADDRESS), claim, None, 1), now())
        made.looked(free)
        made.found(NO_LINK if carry is Carry.ENI else NOTHING)
        return made.address.lack.name

    assert [try_once() for _ in range(timing.CLAIMS_IN_VAIN)] == ["", "", Lack.CLAIM_REFUSED]
    assert "accepted that again and again" in made.address.lack.words
    assert made.address.final is None  # attach goes on
    made.looked(held)
    assert try_once() == ""


@pytest.mark.parametrize("carry", list(Carry))
def test_a_node_that_lost_the_address_for_being_unsound_is_not_ready(carry: Carry) -> None:
    """With the cause: it would be of no use as a holder again."""
    shared = sharing(ADDRESS, carry=carry)
    shared.standings[SUBNET.id] = Standing(0.0, eni=own(), bound=own())
    made = held_by(ME, WITHOUT_NFT, shared=shared)
    made.step()
    made.looked(eni(holder=OTHER, attachment=Attachment("a2", OTHER, 1, AttachmentStatus.ATTACHED)))
    made.found(NOTHING)
    assert made.address.decision.state is State.STANDBY
    assert "nft is missing" in made.address.lack.words
    made.looked(eni(holder=ME, attachment=Attachment("a3", ME, 1, AttachmentStatus.ATTACHED)))
    made.found(SOUND)
    assert made.address.lack.words == ""


def test_while_ec2_gives_no_answer_its_last_failure_is_why_the_node_is_not_ready() -> None:
    """As far as it is known."""
    made = Node()
    made.step()
    assert made.address.lack.words == "EC2 has not answered yet"
    made.shared.unanswered = "IAM denies ec2:DescribeNetworkInterfaces"
    made.step()
    assert made.address.lack.words == "EC2 has not answered yet: IAM denies ec2:DescribeNetworkInterfaces"


@pytest.mark.parametrize(
    ("state", "reason", "level"),
    [
        (State.DOUBT, Reason.CANNOT_CLAIM, "warning"),
        (State.DOUBT, Reason.RATIONED, "warning"),
        (State.DOUBT, Reason.PAUSED, "warning"),
        (State.STANDBY, Reason.CANNOT_CLAIM, "info"),
        (State.DOUBT, Reason.PROBE_LOST, "info"),
    ],
)
def test_a_takeover_that_is_due_but_does_not_happen_is_warned_of(state: State, reason: Reason, level: str) -> None:
    """Once, and again while it lasts; that this node could take nothing while nothing is due is another matter."""
    made = Node()
    before = made.address.decision
    barred = replace(before, state=state, reason=reason, detail="no slot")
    for last, seconds in ((before, 0.0), (barred, 1.0), (barred, timing.SAID_AGAIN)):
        made.address._telling.decided(last, barred, "", "none", 1e6 + seconds, WALL)
    lines = [line for line in made.told.log.splitlines() if "event=decision" in line]
    assert [f"level={level} " in line for line in lines] == [True] * (2 if level == "warning" else 1)


def test_that_nobody_was_reached_makes_the_node_not_ready() -> None:
    """And what keeps a node from being ready is warned of once it lasts, and every ten minutes."""
    made = Node()
    unreached = replace(made.address.decision, state=State.DOUBT, reason=Reason.UNREACHED, detail="no gateway")
    lack = shortcoming(
        unreached, Shortcoming(), None, made.shared, blind="", unsound_before="", refused="", answer_age=0.0
    )
    again = timing.NOT_READY_FOR + timing.SAID_AGAIN
    for seconds in (0.0, 1.0, timing.NOT_READY_FOR, again - 1.0, again + 1.0):
        made.address._telling.decided(unreached, unreached, lack.words, "none", 1e6 + seconds, WALL)
    assert made.told.log.count('level=warning event=not-ready msg="nobody was reached: no gateway') == 2


def test_that_a_node_is_ready_again_is_told_once_where_it_was_told_that_it_is_not() -> None:
    """Whoever has mended it reads on; also where something else was wrong for a moment before all was well."""
    made = Node()
    decision, told_after = made.address.decision, timing.NOT_READY_FOR
    said = {
        0.0: "",
        1.0: "no slot",
        2.0: "",
        3.0: "no slot",
        4.0 + told_after: "no slot",
        60.0: "blind",
        61.0: "",
        62.0: "",
    }
    for seconds, not_ready in said.items():
        made.address._telling.decided(decision, decision, not_ready, "none", 1e6 + seconds, WALL)
    lines = [line for line in made.told.log.splitlines() if "event=not-ready" in line]
    assert ["ready again" in line for line in lines] == [False, True]
    assert "level=info " in lines[1]


def test_what_only_a_person_can_mend_is_told_as_an_error_and_again_while_it_lasts() -> None:
    """Not with each decision."""
    made = Node()
    taken = replace(made.address.decision, reason=Reason.TAKEN, detail="in use")
    for at in (0.0, 1.0, 2.0, timing.SAID_AGAIN):
        made.address._telling.decided(taken, taken, "", "none", at, WALL)
    assert made.told.log.count("level=error event=taken") == 2


@pytest.mark.parametrize(
    ("report", "told"),
    [(WITHOUT_NFT, ["error"]), (replace(SOUND, problem="path: some replies"), ["warning"]), (SOUND, [])],
    ids=["unsound", "partly", "well"],
)
def test_what_keeps_the_kernel_from_carrying_is_an_error_and_what_does_not_a_warning(
    report: PlumbingReport, told: list[str]
) -> None:
    """Whoever is woken by errors sleeps on while the address serves."""
    made = Node()
    made.looked(eni(holder=ME))
    made.found(report)
    lines = [line for line in made.told.log.splitlines() if "event=plumbing " in line]
    assert [line.partition("level=")[2].split()[0] for line in lines] == told
