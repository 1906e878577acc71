"""What is expected of a run, and the verdict on it: plain values, which checker.py compares and fills."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Expectation:
    """
    What a scenario must show; None means no bound.  Times in seconds; outages are all of a client's together, so that
    one that is interrupted by a stray answer is no shorter.

    Detection counts from the nemesis' blow, if it records one (the death after all preparations), else from its
    beginning.  `max_overhead_s` bounds the outage beyond detection and EC2's own time; `max_gap_s` is how long the
    client itself may have stood still; `enis` are the interfaces of the address, `carried` is what its holder has on
    the link when all begins, and `clients` those that ask it (none given: whatever shows the address, and all
    clients); without `served` no client is needed; `allowed_leftovers` are the `what` of leftovers that belong to the
    scenario.
    `max_moves_a_cause` bounds the takeovers by one rule, `max_calls_a_minute` what one instance asks of EC2 in any
    minute since the blow: Describes of all kinds together, and writes each by itself.  If a `refusal_excuses`, a
    failover may be missing: none was promised, since at the blow no other node's observer was ready.
    Attempts of clients before `measured_since` (Unix time) do not count: the scenario was still being prepared.
    `attacked` is the way in which a pod attacks the observers (attacker.py): it must have done so, and
    their processes must not have grown by it.
    """

    scenario: str
    ec2: str
    address: str
    carry: str = "eni"
    max_outage_s: float | None = None
    max_detection_s: float | None = None
    max_overhead_s: float | None = None
    min_moves: int = 0
    max_moves: int | None = None
    max_moves_a_cause: int | None = None
    max_calls_a_minute: int | None = None
    max_agent_exits: int = 0
    max_gap_s: float = 0.25
    enis: frozenset[str] = frozenset()
    carried: str = ""
    clients: frozenset[str] = frozenset()
    served: bool = True
    refusal_excuses: bool = False
    allowed_leftovers: frozenset[str] = frozenset()
    attacked: str = ""
    measured_since: float = 0.0


@dataclass(frozen=True)
class Outage:
    """A run of failed attempts of one client; `until` is None if it did not end."""

    client: str
    since: float
    until: float | None
    last: float

    @property
    def seconds(self) -> float:
        """From the first failure to the next success; at least so long if there was none."""
        return (self.last if self.until is None else self.until) - self.since


@dataclass(frozen=True)
class Placement:
    """
    One attachment that followed another, and EC2's own time for it, in seconds; a move if the instance is another one.

    `detach` is 0 if nobody asked for one; `idle` is from the end of the detach to the attach call: the agent's time.
    """

    source: str
    target: str
    detach: float
    idle: float
    attach: float
    device: float

    @property
    def is_move(self) -> bool:
        """Whether the holder changed."""
        return self.source != self.target

    @property
    def ec2(self) -> float:
        """Seconds that EC2 itself took."""
        return self.detach + self.attach + self.device


@dataclass(frozen=True)
class Verdict:
    """What a run showed; `faults` says what is wrong with it, in words."""

    scenario: str
    carry: str
    ec2: str
    outage_s: float
    total_outage_s: float
    outages: tuple[Outage, ...]
    placements: tuple[Placement, ...]
    moves: int
    ec2_calls: Mapping[str, int]
    holder: str | None
    detection_s: float | None
    agent_exits: int
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    @property
    def ec2_s(self) -> float:
        """EC2's own time of all placements after the first."""
        return sum(placement.ec2 for placement in self.placements)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as values for JSON."""
        return {
            "scenario": self.scenario,
            "carry": self.carry,
            "ec2": self.ec2,
            "outage_s": round(self.outage_s, 3),
            "total_outage_s": round(self.total_outage_s, 3),
            "detection_s": None if self.detection_s is None else round(self.detection_s, 3),
            "ec2_s": round(self.ec2_s, 3),
            "moves": self.moves,
            "placements": [
                {
                    "from": placement.source,
                    "to": placement.target,
                    **{part: round(getattr(placement, part), 3) for part in ("detach", "idle", "attach", "device")},
                }
                for placement in self.placements
            ],
            "holder": self.holder,
            "ec2_calls": dict(self.ec2_calls),
            "agent_exits": self.agent_exits,
            "verdict": "ok" if self.ok else "faulty",
            "faults": list(self.faults),
        }


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict for several addresses of one run: the worst of the times, all moves and all faults."""
    first = verdicts[0]
    if len(verdicts) == 1:
        return first
    detections = [verdict.detection_s for verdict in verdicts if verdict.detection_s is not None]
    return replace(
        first,
        outage_s=max(verdict.outage_s for verdict in verdicts),
        total_outage_s=max(verdict.total_outage_s for verdict in verdicts),
        outages=tuple(outage for verdict in verdicts for outage in verdict.outages),
        placements=tuple(placement for verdict in verdicts for placement in verdict.placements),
        moves=sum(verdict.moves for verdict in verdicts),
        detection_s=max(detections, default=None),
        faults=tuple(dict.fromkeys(fault for verdict in verdicts for fault in verdict.faults)),
    )
