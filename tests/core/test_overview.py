"""One picture of several reports: who holds what, how well it is, and what is wrong."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from floatingip.core.decision import pause
from floatingip.core.decision.decision import Reason
from floatingip.core.health import HealthState
from floatingip.core.move import Result
from floatingip.core.overview import EC2_ALONE, NO_EC2, UNTOLD, Ec2View, Overview, Picture, Verdict, overview
from floatingip.core.report import AddressReport, HealthReport, OrderReport, Report
from floatingip.core.snapshot import PeerSnapshot
from floatingip.core.status import of
from tests.core.snapshots import HELD, NOW, SEEN, TAKEN, TARGET, WALL, WATCHED, A, B, C, holder, standby

HOLDS, WATCHES = of(holder(), NOW), of(standby(), NOW)
ALONE = "there is no other observer; run two replicas, on two workers of its zone"
SHOWN = AddressReport(TARGET, holder=A, since=WALL - 112.0, answer_age=0.0)


def seen(*reports: Report, silent: Mapping[str, str] | None = None, ec2: Ec2View | None = None) -> Overview:
    """The overview of what these told."""
    return overview(WALL, "prod", (TARGET,), reports, silent, ec2)


def picture(*reports: Report, silent: Mapping[str, str] | None = None, ec2: Ec2View | None = None) -> Picture:
    """Of the one address."""
    (found,) = seen(*reports, silent=silent, ec2=ec2).addresses
    return found


def watching(**changes: object) -> Report:
    """The standby's report, with these differences in what it says of the address."""
    return of(standby(replace(WATCHED, **changes)), NOW)  # type: ignore[arg-type]  # the test names fields


def holding(**changes: object) -> Report:
    """The same of the holder's."""
    return of(holder(addresses=(replace(HELD, **changes),)), NOW)  # type: ignore[arg-type]  # the test names fields


def test_a_holder_and_a_standby_that_sees_it_are_healthy() -> None:
    """All is told by its best witness: the health by the standby, the move by who made it."""
    shown = picture(HOLDS, WATCHES)
    assert (shown.verdict, shown.findings) == (Verdict.HEALTHY, ())
    assert (shown.holder, shown.node, shown.health, shown.round_trip) == (A, "worker-a", HealthReport.UP, 0.0004)
    assert [(each.instance, each.node, each.can_take_over) for each in shown.standbys] == [(B, "worker-b", True)]
    assert [(move.result, move.rule) for move in shown.moves] == [(Result.MOVED, "R3")]
    assert (shown.moves_in_ten_minutes, shown.last_move) == (1, HOLDS.addresses[0].moves[0])


def test_its_sentences_name_nodes_beside_their_instances() -> None:
    """As far as they are known, and no part of another id for an instance."""
    said = f"{A} is silent, {C} and e{B} and {A}b are not"
    shown = picture(HOLDS, watching(health=HealthState.DOWN, sentence=said))
    named = f"worker-b: worker-a ({A}) is silent, {C} and e{B} and {A}b are not"
    assert shown.sentence == named
    assert f"it does not answer: {named}" in shown.findings


def test_one_observer_alone_tells_of_the_others_what_they_told_it() -> None:
    """As on the page: the standby is known from its word, and from what it reported."""
    shown = picture(HOLDS)
    assert [(each.node, each.can_take_over) for each in shown.standbys] == [("worker-b", None)]
    why = of(standby(replace(WATCHED, not_ready="no free slot")), NOW)
    peer = replace(holder().peers[0], report=why)
    shown = picture(of(holder(peers=(peer,)), NOW))
    assert [(each.can_take_over, each.why_not) for each in shown.standbys] == [(False, "no free slot")]
    assert shown.verdict is Verdict.DEGRADED


@pytest.mark.parametrize(
    ("reports", "finding"),
    [
        ((holding(not_ready="nft is missing"), watching(health=HealthState.DOWN)), "its holder: nft is missing"),
        ((holding(), watching(health=HealthState.DOWN, sentence="lost")), "it does not answer: worker-b: lost"),
        ((holding(), watching(node_ports={30007: HealthState.DOWN})), "no NodePort answers there: 30007"),
        ((watching(holder="", sentence="being moved"),), "no node holds it: worker-b: being moved"),
        ((holding(not_ready="nft is missing"),), "its holder: nft is missing"),
        ((watching(holder=B, sentence="being attached"),), "its holder: being attached"),
    ],
)
def test_what_does_not_answer_is_down(reports: tuple[Report, ...], finding: str) -> None:
    """Whatever else is wrong."""
    shown = picture(*reports)
    assert shown.verdict is Verdict.DOWN
    assert finding in shown.findings


@pytest.mark.parametrize(
    ("reports", "finding"),
    [
        ((holding(), watching(not_ready="no slot")), "no standby could take it over: worker-b: no slot"),
        ((of(holder(peers=()), NOW),), f"no standby could take it over: {ALONE}"),
        ((holding(), watching(paused_until_wall=WALL + 90.0, asked_at=NOW)), pause.told(WALL + 90.0)),
        ((holding(not_ready="kube-proxy"), watching()), "its holder: kube-proxy"),
        ((of(holder(leaving="spot"), NOW), watching()), "its holder is leaving: spot"),
        ((of(holder(unanswered="throttled"), NOW), of(standby(unanswered="throttled"), NOW)), f"{NO_EC2}: throttled"),
        ((watching(),), f"{A}: the way is closed"),
    ],
)
def test_what_is_served_but_not_safe_is_degraded(reports: tuple[Report, ...], finding: str) -> None:
    silent = {A: "the way is closed"} if reports == (watching(),) else {}
    shown = picture(*reports, silent=silent)
    assert shown.verdict is Verdict.DEGRADED
    assert finding in [each.replace("its holder: the", f"{A}: the") for each in shown.findings]


def test_an_address_whose_probes_are_blocked_is_served_as_far_as_its_holder_tells() -> None:
    """A security group is closed to the standbys: clients are answered, and whoever is called at night is told so."""
    blocked = {"health": HealthState.DOWN, "reason": Reason.PROBE_BLOCKED.name, "sentence": "probe blocked"}
    shown = picture(HOLDS, watching(**blocked))
    assert (shown.verdict, shown.findings[0]) == (Verdict.DEGRADED, "it does not answer: worker-b: probe blocked")
    assert picture(holding(not_ready="nft is missing"), watching(**blocked)).verdict is Verdict.DOWN
    other = replace(watching(**{**blocked, "reason": "NOT_VOUCHED"}), instance=C)
    assert picture(HOLDS, watching(**blocked), other).verdict is Verdict.DOWN
    assert picture(watching(**blocked)).verdict is Verdict.DOWN, "its holder tells nothing here"


def test_a_pause_that_is_over_is_none() -> None:
    """What an observer told a while ago need not hold any more."""
    assert (
        seen(holding(), replace(WATCHES, addresses=(replace(WATCHES.addresses[0], paused_until=WALL - 1.0),))).verdict
        == "healthy"
    )


def test_ec2_that_answers_one_of_them_is_there() -> None:
    """A throttled call is no outage."""
    assert picture(of(holder(unanswered="throttled"), NOW), WATCHES).verdict is Verdict.HEALTHY


def test_ec2s_own_answer_counts_more_than_what_anybody_remembers() -> None:
    """Observers ask once a minute; who goes on holding what is another one's now is told."""
    shown = picture(HOLDS, WATCHES, ec2=Ec2View(addresses=(replace(SHOWN, holder=B),)))
    assert (shown.holder, shown.verdict) == (B, Verdict.DEGRADED)
    assert "worker-a says that it holds it, too" in shown.findings


def test_ec2_alone_is_a_view_that_says_so() -> None:
    """From a workstation; a holder whose instance has ended serves nobody."""
    shown = seen(ec2=Ec2View(addresses=(SHOWN,)))
    assert (shown.verdict, shown.unknown) == (Verdict.HEALTHY, (EC2_ALONE,))
    ended = replace(SHOWN, problem="EC2 says that its instance is stopped")
    assert picture(ec2=Ec2View(addresses=(ended,))).verdict is Verdict.DOWN


def test_without_ec2_the_agents_view_remains_and_what_was_not_learned_is_said() -> None:
    """That EC2 did not answer counts; that it was only slow, denied, or not to be asked from here, does not."""
    shown = seen(HOLDS, WATCHES, ec2=Ec2View("503", is_silent=True))
    assert (shown.verdict, shown.addresses[0].findings) == (Verdict.DEGRADED, (f"{NO_EC2}: 503",))
    assert shown.unknown == ("what EC2 says now: 503",)
    assert seen(HOLDS, WATCHES, ec2=Ec2View("IAM denies it")).verdict is Verdict.HEALTHY


def test_without_anybody_nothing_is_known() -> None:
    shown = seen(silent={A: "refused"}, ec2=Ec2View("503"))
    assert (shown.verdict, shown.unknown[0]) == (Verdict.UNKNOWN, UNTOLD)
    assert [(each.instance, each.problem) for each in shown.observers] == [(A, "refused")]


def test_what_ec2_has_told_nobody_since_they_began_is_not_known() -> None:
    """Observers were restarted while EC2 is out: a node may serve the address, and nobody probes what nobody holds."""
    silent: dict[str, object] = {"holder": "", "asked_at": None, "health": HealthState.INIT, "node_ports": {}}
    silent |= {"state": "start", "sentence": "EC2 has not answered yet", "since_wall": None, "is_holder": False}
    told = holding(**silent), watching(**silent)
    shown = picture(*told)
    assert shown.verdict is Verdict.UNKNOWN
    assert shown.findings[0].startswith("who holds it is not known: worker-")
    nobody = AddressReport(TARGET, answer_age=0.0, sentence="EC2 says: nobody has it")
    for each in (picture(*told, ec2=Ec2View(addresses=(nobody,))), picture(told[0], watching(holder="", asked_at=NOW))):
        assert each.verdict is Verdict.DOWN, "by an answer of EC2's"


def test_a_silent_peer_could_not_take_over() -> None:
    """Though it said so before."""
    quiet = PeerSnapshot(B, IPv4Address("10.0.0.11"), NOW - 60.0, True, None, WATCHES)
    shown = picture(of(holder(peers=(quiet,)), NOW))
    assert [each.can_take_over for each in shown.standbys] == [False]
    assert "worker-b: its observer does not answer" in shown.findings


def test_one_that_gets_no_answer_while_another_one_does_is_named() -> None:
    """It may be the one that is cut off."""
    other = replace(of(standby(replace(WATCHED, health=HealthState.DOWN)), NOW), instance=C, node="worker-c")
    shown = picture(HOLDS, WATCHES, other)
    assert (shown.health, shown.verdict) == (HealthReport.UP, Verdict.DEGRADED)
    assert "worker-c gets no answer of it" in shown.findings


def test_a_node_port_has_not_answered_at_an_address_that_is_down() -> None:
    """It was asked before that; that it did not answer then is still known."""
    assert picture(HOLDS, WATCHES).node_ports == {"30007": True}
    assert picture(HOLDS, watching(health=HealthState.DOWN)).node_ports == {"30007": None}
    silent = watching(health=HealthState.DOWN, node_ports={30007: HealthState.DOWN})
    assert picture(HOLDS, silent).node_ports == {"30007": False}


def test_a_move_that_several_tell_of_is_one() -> None:
    """Seen by two, made by a third, whose clock is a bit wrong; another one that nobody made known is kept."""
    early = replace(SEEN, began_at=WALL - 500.0, source=C, to=B)
    made = holding(moves=(replace(TAKEN, began_at=SEEN.began_at - 30.0),))
    watched = watching(moves=(early, SEEN))
    third = replace(watching(moves=(replace(early, began_at=early.began_at + 20.0), SEEN)), instance=C)
    shown = picture(made, watched, third)
    assert [(move.result, move.to) for move in shown.moves] == [(Result.SEEN, B), (Result.MOVED, A)]
    assert shown.moves_in_ten_minutes == 2


def test_whom_ec2_does_not_show_with_the_address_now_is_not_simply_believed() -> None:
    """Observers look once a minute.  It may answer from its link; an Elastic IP leads elsewhere, whatever answers."""
    nobody = AddressReport(TARGET, answer_age=0.0, sentence="EC2 says: nobody has it")
    for elastic, verdict in ((frozenset[str](), Verdict.DEGRADED), (frozenset({TARGET}), Verdict.DOWN)):
        shown = picture(HOLDS, WATCHES, ec2=Ec2View(addresses=(nobody,), elastic=elastic))
        assert (shown.holder, shown.verdict, shown.findings) == (A, verdict, ("EC2 says: nobody has it",))


def test_the_address_is_there_since_whoever_saw_it_first() -> None:
    """Each observer tells since when it has seen that; what EC2 said to one long ago may be of a stay before."""
    late = watching(since_wall=WALL - 60.0, asked_at=NOW)
    past = replace(watching(since_wall=WALL - 3000.0, asked_at=NOW - 2000.0), instance=C)
    assert picture(HOLDS, late).since == HELD.since_wall
    assert picture(HOLDS, late, past).since == HELD.since_wall


def test_an_order_and_the_ration_are_those_of_whoever_asked_ec2_last() -> None:
    """Others may not have seen them yet."""
    ordered = watching(order=OrderReport("*", WALL + 60.0), rationed_until_wall=WALL + 90.0, asked_at=NOW)
    shown = picture(HOLDS, ordered)
    assert (shown.order, shown.rationed_until) == (OrderReport("*", WALL + 60.0), WALL + 90.0)


def test_the_worst_address_is_the_verdict() -> None:
    """One that is down does not hide among others."""
    shown = overview(WALL, "prod", (TARGET, "10.0.0.9"), (HOLDS, WATCHES))
    assert [each.verdict for each in shown.addresses] == [Verdict.HEALTHY, Verdict.UNKNOWN]
    assert shown.verdict is Verdict.UNKNOWN


def test_what_was_taken_back_is_told_by_the_newest_answer_of_ec2() -> None:
    """Observers look once a minute: a pause that was ended, or an order, stands in their older answers for as long."""
    past: dict[str, object] = {"order": OrderReport("*", WALL + 60.0), "asked_at": NOW - 50.0}
    past |= {"paused_until_wall": WALL + 900.0, "rationed_until_wall": WALL + 90.0}
    for shown in (picture(holding(**past), watching(**past), ec2=Ec2View(addresses=(SHOWN,))), picture(
        holding(**past), watching(asked_at=NOW - 5.0, order=None, paused_until_wall=0.0, rationed_until_wall=0.0)
    )):  # fmt: skip
        assert (shown.paused_until, shown.order, shown.rationed_until) == (None, None, None)
        assert shown.verdict is Verdict.HEALTHY


@pytest.mark.parametrize(("state", "verdict"), [("attached", "healthy"), ("attaching", "down"), ("detaching", "down")])
def test_what_is_on_its_way_is_not_served(state: str, verdict: str) -> None:
    """Where EC2 alone tells of it; an observer knows better."""
    moving = replace(SHOWN, state=state, sentence=f"EC2 says: {state}")
    shown = picture(ec2=Ec2View(addresses=(moving,)))
    assert shown.verdict == verdict
    assert shown.findings == ((f"its holder: EC2 says: {state}",) if verdict == "down" else ())
    assert picture(HOLDS, WATCHES, ec2=Ec2View(addresses=(moving,))).verdict is Verdict.HEALTHY


def test_an_address_that_ec2_does_not_show_readably_is_not_known_to_be_down() -> None:
    """The interface that cannot be read may have it."""
    shown = seen(ec2=Ec2View(unread=("eni-1 cannot be read: no MacAddress",)))
    assert shown.verdict is Verdict.UNKNOWN
    assert "what EC2 says now: eni-1 cannot be read: no MacAddress" in shown.unknown
