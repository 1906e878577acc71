"""A snapshot with something in every field, for whatever is a view of it."""

from dataclasses import replace
from ipaddress import IPv4Address

from floatingip.core.health import HealthState
from floatingip.core.move import Move, Result
from floatingip.core.peer import WordState
from floatingip.core.report import OrderReport
from floatingip.core.snapshot import AddressSnapshot, PeerSnapshot, ProbeSpan, Snapshot
from floatingip.core.status import of
from floatingip.core.word import Held, Status

NOW, WALL = 1000.0, 1_764_324_000.0
TARGET, OTHER_TARGET = "10.0.0.100", "10.0.0.101"
A, B, C = "i-0a", "i-0b", "i-0c"
PHASES = {"duration": 8.0, "detect": 1.25, "detach": 2.5, "attach": 4.25}
TAKEN = Move("1a", WALL - 120.0, WALL - 112.0, TARGET, "R3", f"{B} is silent", B, A, Result.MOVED, PHASES)
SEEN = Move("", WALL - 110.0, WALL - 110.0, TARGET, "", "", B, A, Result.SEEN)

HELD = AddressSnapshot(
    TARGET,
    is_holder=True,
    health=HealthState.INIT,
    source=IPv4Address(TARGET),
    state="holder",
    rule="R10",
    reason="HELD_HERE",
    sentence="this node holds the address",
    holder=A,
    asked_at=NOW - 20.0,
    since_wall=WALL - 112.0,
    moves=(TAKEN,),
)
WATCHED = AddressSnapshot(
    TARGET,
    is_holder=False,
    health=HealthState.UP,
    source=IPv4Address(TARGET),
    state="standby",
    rule="R3",
    reason="ANSWERS",
    sentence=f"{A} holds the address, and it answers",
    holder=A,
    asked_at=NOW - 30.0,
    since_wall=WALL - 111.0,
    round_trip=0.0004,
    probes=tuple(ProbeSpan(NOW - 60.0 + 2 * n, 8, 0, 0.0004) for n in range(30)),
    node_ports={30007: HealthState.UP},
    word=WordState.SOUND,
    moves=(SEEN,),
)


def holder(**changes: object) -> Snapshot:
    """Of the holder, at NOW."""
    status = Status("prod", A, holds={TARGET: Held("a1")}, free_slots=1)
    peer = PeerSnapshot(
        B, IPv4Address("10.0.0.11"), NOW - 0.2, False, Status("prod", B, free_slots=1), of(standby(), NOW)
    )
    made = Snapshot(
        NOW, status, (HELD,), wall=WALL, carry="eni", node="worker-a", address=IPv4Address("10.0.0.10"),
        answered_at=NOW - 20.0, peers=(peer,),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]  # the test names fields of Snapshot


def standby(address: AddressSnapshot = WATCHED, **changes: object) -> Snapshot:
    """Of its standby, at NOW."""
    peer = PeerSnapshot(A, IPv4Address("10.0.0.10"), NOW - 0.3, False, Status("prod", A))
    made = Snapshot(
        NOW, Status("prod", B, free_slots=1), (address,), wall=WALL, carry="eni", node="worker-b",
        address=IPv4Address("10.0.0.11"), answered_at=NOW - 30.0, peers=(peer,),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]  # the test names fields of Snapshot


def full() -> Snapshot:
    """Of one that has something to say of everything."""
    address = replace(
        WATCHED, order=OrderReport("*", WALL + 60.0), not_ready="no slot", rationed_until_wall=WALL + 30.0
    )
    return replace(holder(), addresses=(HELD, replace(address, target=OTHER_TARGET)), unanswered="throttled",
                   unknown=("IMDS is silent",))  # fmt: skip
