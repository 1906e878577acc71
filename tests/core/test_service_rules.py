"""R7: an address moves to where NodePorts answer when none answers at it; and whoever serves comes first otherwise."""

from dataclasses import replace

import pytest

from floatingip.agent.serving import CHECKED_AT_MOST, chosen
from floatingip.core.decision.decision import Decision, Reason, State
from floatingip.core.health import Health, HealthState
from floatingip.core.peer import Peer
from floatingip.core.probe import NodePort, Served
from tests.core.deciders import SETTINGS, WALL, Observer, peer, shown
from tests.core.movers import Mover

ME, HOLDER, THIRD = "i-b", "i-a", "i-c"
WEB, API = 30007, 30008
BETTER = {ME: {WEB: True, API: True}, HOLDER: {WEB: False, API: True}}
CROSSED = {ME: {WEB: True, API: False}, HOLDER: {WEB: False, API: True}}
LOST_AT, NOW = 25.0, 40.0
MOVES, ELSEWHERE, WELL = "SERVICE_DOWN", "NOT_SERVED_HERE", "ANSWERS"


def lost(*, ever_up: bool = True, since: float = LOST_AT, attachment: str = "a1") -> Health:
    """A NodePort that does not answer at the address."""
    return Health(attachment, HealthState.DOWN, 9, since, NOW, since + 5.0, ever_up)


def up() -> Health:
    """One that does."""
    return Health("a1", HealthState.UP, 9, changed_at=1.0, ever_up=True)


def on(*answering: str, lacking: tuple[str, ...] = (), port: int = WEB) -> Served:
    """What an observer saw of one NodePort on these nodes."""
    return {**{node: {port: True} for node in answering}, **{node: {port: False} for node in lacking}}


def judged(
    services: dict[int, Health],
    served: Served | None = None,
    peers: tuple[Peer, ...] = (),
    words: str = "",
    now: float = NOW,
    up_at: float = 0.0,
) -> Decision:
    """What the standby i-b decides of the address on i-a, which itself has answered since `up_at`."""
    observer = Observer(ME)
    observer.see(up_at, f"ec2:a1@{HOLDER} word:sound probe:AA")
    return observer.see(now, f"ec2:a1@{HOLDER} probe:A {words}", services=services, served=served or {}, peers=peers)


NEVER, DEAF = lost(ever_up=False), peer(HOLDER, NOW, served=on(lacking=(ME,)))
OLD, AGREES = peer(THIRD, NOW - 11.0, served=on(ME)), peer(HOLDER, NOW, served=on(ME))
SEES = peer(THIRD, NOW, served={**on(ME), "a1": {WEB: True}})

JUDGED: dict[str, tuple[dict[int, Health], Served, tuple[Peer, ...], str]] = {
    "what answers here by another's word moves it": ({WEB: lost()}, on(ME), (AGREES,), MOVES),
    # kube-proxy leads what comes from the node itself to pods of the whole cluster.
    "the holder's word is stronger than the own check": ({WEB: lost()}, on(ME), (DEAF,), ELSEWHERE),
    "so is a third one's": ({WEB: lost()}, on(ME), (replace(DEAF, instance_id=THIRD),), ELSEWHERE),
    "a word of long ago says nothing": ({WEB: lost()}, {}, (OLD,), ELSEWHERE),
    "nor does it outvote the own check": ({WEB: lost()}, on(lacking=(ME,)), (OLD,), ELSEWHERE),
    "what answers nowhere moves nothing": ({WEB: lost()}, on(lacking=(ME, HOLDER)), (DEAF,), ELSEWHERE),
    "what never answered anywhere counts for nothing": ({WEB: NEVER}, on(lacking=(ME, HOLDER)), (), WELL),
    "who never had an endpoint is left for one that has": ({WEB: NEVER}, on(ME, lacking=(HOLDER,)), (), MOVES),
    "one NodePort of several moves nothing": ({WEB: lost(), API: up()}, BETTER, (), WELL),
    "all of several do": ({WEB: lost(), API: lost()}, BETTER, (), MOVES),
    "two services on different nodes make no ping-pong": ({WEB: NEVER, API: up()}, CROSSED, (), WELL),
    # kube-proxy in nftables mode, or a security group: it would be so on every node.
    "never at the floating address, but at the holder's own": ({WEB: NEVER}, on(ME, HOLDER), (AGREES,), WELL),
    # Then it is the way back from the floating address that is broken there.
    "before at the floating address, and at the holder's own": ({WEB: lost()}, on(ME, HOLDER), (), MOVES),
    # Then it is this node's way to it that is broken.
    "another observer that gets an answer keeps it there": ({WEB: lost()}, on(ME), (SEES,), WELL),
}


@pytest.mark.parametrize(("services", "served", "peers", "reason"), JUDGED.values(), ids=JUDGED)
def test_a_node_port_that_is_lost_at_the_address(
    services: dict[int, Health], served: Served, peers: tuple[Peer, ...], reason: str
) -> None:
    """It moves the address to where it answers, which is rationed, so recorded first; or nothing is written."""
    decision = judged(services, served, peers)
    assert decision.reason.name == reason
    assert shown(decision).startswith("doubt SERVICE_DOWN R7 tag:R7@") == (reason == MOVES)
    assert reason == MOVES or (decision.state, decision.write) == (State.STANDBY, None)


def test_the_own_check_is_enough_where_nobody_else_can_say() -> None:
    """The holder's observer may be gone with its node's pods, while the node answers pings."""
    decision = judged({WEB: lost()}, on(ME), words="word:silent")
    assert shown(decision).startswith("doubt SERVICE_DOWN R7 tag:R7@")


ALONE_AT = NOW + 12.0
"""By then nothing that the holder said at NOW counts any more."""


@pytest.mark.parametrize(
    ("found", "lost_at", "passing_at", "reason"),
    [
        # A NetworkPolicy that lets in clients alone keeps no node from its own pods.
        (False, LOST_AT, 0.0, ELSEWHERE),
        (True, LOST_AT, 0.0, MOVES),
        # Its last pod has come here after the holder's observer was gone: what that found is of the past.
        (False, NOW - 2.0, 0.0, MOVES),
        # So it is where this node found the same until then.
        (False, LOST_AT, NOW - 2.0, MOVES),
        (False, LOST_AT, NOW + 5.0, MOVES),
    ],
)
def test_the_own_check_is_not_enough_where_others_found_it_wrong(
    lost_at: float, passing_at: float, reason: str, *, found: bool
) -> None:
    """Not even once these are silent, as the holder's observer is while it is restarted."""
    observer, services = Observer(ME), {WEB: lost(since=lost_at)}
    observer.see(0.0, f"ec2:a1@{HOLDER} word:sound probe:AA", served=on(ME))
    for now in sorted({1.0, passing_at, NOW, ALONE_AT}):
        served = on(ME, lacking=(HOLDER,)) if now >= passing_at else on(lacking=(ME, HOLDER))
        peers = (peer(HOLDER, min(now, NOW), served={ME: {WEB: found}}),)
        word = "word:silent" if now > NOW else ""
        decision = observer.see(now, f"ec2:a1@{HOLDER} {word} probe:A", services=services, served=served, peers=peers)
    assert decision.reason.name == reason


def test_what_others_found_wrong_is_forgotten_once_it_answers_at_the_address() -> None:
    """Or one of them finds it right: then the own check is as good as before."""
    for well in ({"services": {WEB: up()}}, {"peers": (peer(HOLDER, NOW + 1.0, served=on(ME)),)}):
        observer, services = Observer(ME), {WEB: lost()}
        observer.see(0.0, f"ec2:a1@{HOLDER} word:sound probe:AA", served=on(ME))
        observer.see(NOW, f"ec2:a1@{HOLDER} probe:A", services=services, served=on(ME), peers=(DEAF,))
        observer.see(NOW + 1.0, f"ec2:a1@{HOLDER} probe:A", **{"peers": (), **well})
        decision = observer.see(ALONE_AT, f"ec2:a1@{HOLDER} word:silent probe:A", services=services, served=on(ME))
        assert decision.reason is Reason.SERVICE_DOWN


def test_a_loss_is_judged_only_once_what_is_known_of_the_nodes_is_newer() -> None:
    """What has just ended everywhere answered everywhere a moment ago."""
    fast = replace(SETTINGS, service_fall=1, service_interval=0.1)
    observer = Observer(ME, settings=fast)
    observer.see(0.0, f"ec2:a1@{HOLDER} word:sound probe:AA")
    early = observer.see(LOST_AT + 4.0, "probe:A", services={WEB: lost()}, served=on(ME))
    assert early.reason is Reason.ANSWERS
    late = observer.see(LOST_AT + 6.0, f"ec2:a1@{HOLDER} probe:A", services={WEB: lost()}, served=on(ME))
    assert late.reason is Reason.SERVICE_DOWN


def test_what_was_lost_while_the_address_moved_does_not_count() -> None:
    """The checks go on while EC2 attaches the ENI: they are judged from when the address answers."""
    services = {WEB: lost(ever_up=False, since=10.0)}
    assert judged(services, on(ME), now=NOW, up_at=NOW - 2.0).reason is Reason.ANSWERS
    assert judged(services, on(ME), now=NOW, up_at=NOW - 6.0).reason is Reason.SERVICE_DOWN


def test_an_address_in_doubt_is_judged_by_itself() -> None:
    """R3 and R4 come first: no service can answer where the address does not."""
    observer = Observer(ME)
    observer.see(0.0, f"ec2:a1@{HOLDER} word:sound probe:AA")
    decision = observer.see(NOW, f"ec2:a1@{HOLDER} probe:L", services={WEB: lost()}, served=on(ME))
    assert decision.rule != "R7"


# The order of the standbys.


def taking(peers: tuple[Peer, ...], served: Served, waited: float = 0.0) -> Decision:
    """What i-b does when the holder is dead, after so many seconds."""
    observer = Observer(ME)
    observer.see(0.0, f"ec2:a1@{HOLDER} word:sound probe:AA", peers=peers, served=served)
    decision = observer.see(10.0, f"ec2:a1@{HOLDER} word:silent probe:LLLLL", peers=peers, served=served)
    if waited:
        now = 10.0 + waited
        return observer.see(now, f"ec2:a1@{HOLDER} probe:L", peers=_now(peers, now), served=served)
    return decision


def _now(peers: tuple[Peer, ...], now: float) -> tuple[Peer, ...]:
    return tuple(replace(each, heard_at=now, asked_at=now) for each in peers)


AT_ONCE: dict[str, tuple[Peer, Served]] = {
    "whoever serves": (peer(THIRD, 10.0, served=on(ME)), on(THIRD)),
    "the other one has no slot": (peer(THIRD, 10.0, served=on(THIRD), free_slots=0), on(THIRD)),
    "the other one is about to end": (peer(THIRD, 10.0, served=on(THIRD), leaving=True), on(THIRD)),
    "nobody serves": (peer(THIRD, 10.0), {}),
}


@pytest.mark.parametrize(("other", "served"), AT_ONCE.values(), ids=AT_ONCE)
def test_the_eni_is_detached_at_once_unless_another_one_serves(other: Peer, served: Served) -> None:
    """Whoever detaches it claims it; nobody waits for one that cannot take it."""
    assert shown(taking((other,), served)) == "takeover SILENT_HOLDER R3 detach:a1"


def test_whoever_does_not_serve_lets_one_that_does_detach_it_first() -> None:
    """For two seconds, since that one may fail too."""
    other = (peer(THIRD, 10.0, served={**on(THIRD), **on(lacking=(ME,))}),)
    waiting = taking(other, {**on(THIRD), **on(lacking=(ME,))})
    assert (waiting.reason, waiting.detail, waiting.write) == (Reason.LATER, THIRD, None)
    assert shown(taking(other, on(THIRD), waited=2.1)) == "takeover SILENT_HOLDER R3 detach:a1"


def test_whoever_may_not_move_it_yet_waits_for_nobody() -> None:
    """The ration is told of all the time, whoever comes first once it is over."""
    other = (peer(THIRD, NOW, served={**on(THIRD), **on(lacking=(ME,))}),)
    observer = Observer(ME)
    observer.see(0.0, f"ec2:a1@{HOLDER} word:unsound probe:AA", peers=other, served=on(lacking=(ME,)))
    barred = f"ec2:a1@{HOLDER} tag:R5@{WALL + 20}/a0 word:unsound probe:A"
    for later in (0.0, 2.1, 2.2):
        others = _now(other, NOW + later)
        decision = observer.see(NOW + later, barred, peers=others, served=on(lacking=(ME,)))
        assert decision.reason is Reason.RATIONED


def test_whoever_has_let_the_others_go_first_and_recorded_its_move_moves_it() -> None:
    """It does not wait for them once more."""
    other = (peer(THIRD, NOW, served={**on(THIRD), **on(lacking=(ME,))}),)
    observer, seen = Observer(ME), {"peers": other, "served": on(lacking=(ME,))}
    observer.see(0.0, f"ec2:a1@{HOLDER} word:unsound probe:AA", **seen)
    assert observer.see(NOW, f"ec2:a1@{HOLDER} probe:A", **seen).reason is Reason.LATER
    seen["peers"] = _now(other, NOW + 2.1)
    decision = observer.see(NOW + 2.1, f"ec2:a1@{HOLDER} probe:A", **seen)
    assert shown(decision) == f"doubt HOLDER_UNSOUND R5 tag:R5@{WALL + 42}/a1"
    decision = observer.see(NOW + 2.2, f"ec2:a1@{HOLDER} tag:R5@{WALL + 42}/a1 probe:A", **seen)
    assert shown(decision) == "takeover HOLDER_UNSOUND R5 detach:a1"


def test_with_standing_enis_the_own_word_of_the_others_counts_too() -> None:
    """Two standbys rank each other alike, whoever of them is asked."""
    mover = Mover()
    other = peer("i-z", 10.1, served=on(lacking=(ME,)))
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    waiting = mover.see(10.1, "ec2:i-a word:silent probe:LLLLL", peers=(other,), served=on("i-z"))
    assert (waiting.reason, waiting.detail) == (Reason.LATER, "i-z")


# Which NodePorts are checked.


def listed(*ports: int) -> list[NodePort]:
    """The Services' NodePorts."""
    return [NodePort(port, service=f"s{port}") for port in ports]


def numbers(node_ports: tuple[NodePort, ...]) -> list[int]:
    """Theirs."""
    return [each.port for each in node_ports]


def test_at_most_a_few_are_checked_the_lowest_first() -> None:
    """So that all observers check the same ones."""
    many = listed(*range(30010, 30000, -1))
    assert numbers(chosen(many, (), ())) == list(range(30001, 30001 + CHECKED_AT_MOST))


def test_what_never_answered_gives_way_to_what_was_not_checked_yet() -> None:
    """Dead Services must not hide the one that lives; what has answered stays."""
    many = listed(*range(30001, 30011))
    first = numbers(chosen(many, (), ()))
    second = numbers(chosen(many, first, {30002}))
    assert second == [30002, 30005, 30006, 30007]
    assert numbers(chosen(listed(30001, 30002), [30001, 30002], ())) == [30001, 30002]
