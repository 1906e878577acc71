"""
A region on which one round of misfortunes follows another, each judged by all that happened from the one to the next.

What is promised at all times:

- safety: never two nodes that EC2 gives the address, no traceback, no container that ends without a cause;
- liveness: with one healthy candidate clients are served again within detection, EC2's time and five seconds after the
  last fault that could explain why they are not, or within the scenario's own bound where that is longer;
- calm: no more moves than the misfortunes of a round account for, and none while all is undone;
- nothing left behind, on any node or in EC2.

Times mean nothing if the machine has no processor for the processes that must be in time: such a round is reported as
undecided, see Outcome.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from botocore.exceptions import ClientError

from lab.ec2 import Profile
from lab.kubernetes.cluster import ClusterFailed
from lab.network.netns import CommandFailed
from lab.run.compose import STRIKES, Round
from lab.run.healing import Healer, Watch
from lab.run.hostile import observers
from lab.run.kubernetes_scenarios import ALL
from lab.run.leftovers import leftovers
from lab.run.machine import Machine
from lab.run.play import judge
from lab.run.region import Region
from lab.run.scenario import DETECTION, SERVED_AGAIN, Scenario, ec2_takes
from lab.run.verdict import Expectation, Verdict

STOOD_STILL = 1.0
"""Seconds for which a client may stand still: it measures nothing meanwhile, which is not counted as a fault."""

BUSY = 0.5
"""Seconds without processor from which times mean nothing: of the lab itself, which is EC2 and answers the clients, or,
within one second, of a thread of an observer that had something to do.
"""

BEAT, SECOND = 0.05, 1.0
"""Seconds between two looks at the lab, and at the observers."""

MOVES_WITHIN = 15.0
"""Seconds that a planned move may take beyond what a failover may take: IMDS is asked every five."""

IN_TIME = ("an outage of", "detection took", "moves, at", "itself stood still", "is unfinished")
"""The texts that mark faults which a busy machine can cause."""

CLEAN_WITHIN = 30.0
"""Seconds after which nothing may be left behind: a node that let go of the address first asks EC2 and IMDS."""

Broken = (TimeoutError, LookupError, CommandFailed, ClientError, ClusterFailed)
"""The errors that a misfortune raises if it could not be carried out."""


class Pulse:
    """Measures for how long this process stands still, or an observer waits for a processor."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._longest = 0.0
        self._over = threading.Event()
        self._waited: dict[tuple[int, str], float] = {}
        for look in (self._beat, self._sample):
            threading.Thread(target=look, name="pulse", daemon=True).start()

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._over.wait(BEAT):
            now = time.monotonic()
            self._longest = max(self._longest, now - last - BEAT)
            last = now

    def _sample(self) -> None:
        while not self._over.wait(SECOND):
            waited = {
                (process, thread): seconds
                for process in observers(self._region).values()
                for thread, seconds in waiting(process).items()
            }
            more = (seconds - self._waited.get(key, 0.0) for key, seconds in waited.items())
            self._longest = max(self._longest, *more, 0.0)
            self._waited = waited

    def stop(self) -> None:
        """Stop measuring."""
        self._over.set()

    def take(self) -> float:
        """The longest such time, in seconds, since this was last called."""
        longest, self._longest = self._longest, 0.0
        return longest


def waiting(process: int) -> dict[str, float]:
    """For how many seconds each thread of a process has waited for a processor so far; nothing if it has ended."""
    found: dict[str, float] = {}
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            found[thread.name] = int((thread / "schedstat").read_text(encoding="utf-8").split()[1]) / 1e9
    return found


@dataclass(frozen=True)
class Outcome:
    """
    The result of a round.

    at: when it began, in Unix seconds.
    source, holder: the nodes that had the address before and after it.
    faults: what was wrong, in words.
    starved_s: for how long, at most, the lab or an observer had no processor.
    """

    round: Round
    at: float
    moves: int
    outage_s: float
    source: str
    holder: str
    faults: tuple[str, ...]
    starved_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.faults

    @property
    def undecided(self) -> bool:
        """Whether all faults are about times, and the machine was too busy to judge those."""
        in_time = all(any(words in fault for words in IN_TIME) for fault in self.faults)
        return bool(self.faults) and in_time and self.starved_s > BUSY


class Rack:
    """A region, round after round: each begins where the one before ended, so that nothing is left unjudged."""

    def __init__(self, region: Region, watch: Watch) -> None:
        self.region = region
        self._watch = watch
        self.healer = Healer(region, watch)
        self.pulse = Pulse(region)
        self._judged = 0
        self._enis = _interfaces(region)
        self.is_broken = False

    def suffer(self, each: Round) -> Outcome:
        """One round: strike, see it served again, undo all, wait until all is well, judge."""
        region, at = self.region, time.time()
        began = self._judged or len(region.history)
        self.pulse.take()
        scenarios = [ALL[name] for name in each.names]
        source = region.holder()
        bare = self._bare(each)
        expected = together(bare, region.profile, scenarios)
        faults = list(self._strike(each, scenarios))
        last_fault = max(time.time(), self._watch.last_killed_at)
        by = last_fault + max(DETECTION + ec2_takes(bare, region.profile) + SERVED_AGAIN, expected.max_outage_s or 0.0)
        self._wait_until_served(by, max(scenario.lasts for scenario in scenarios), source, expected.min_moves)
        try:
            self.healer.heal()
            self.healer.wait()
            self._record_leftovers()
            # Looking for them takes a while: what goes wrong meanwhile is this round's.
            self.healer.wait()
        except Broken as error:
            faults.append(str(error))
            self.is_broken = True
        self._judged = len(region.history)
        told = region.history.events()
        enis = frozenset(event["eni"] for event in region.attachments())
        verdict = judge(told, [replace(expected, enis=enis)], began)
        late = judge(told, [replace(expected, enis=enis, measured_since=by, max_outage_s=0.0)], began)
        faults += [*verdict.faults, *(f"later than promised: {fault}" for fault in late.faults if "outage" in fault)]
        return Outcome(
            each,
            at,
            moves=verdict.moves,
            outage_s=verdict.outage_s,
            source=source.name,
            holder=self._name(verdict),
            faults=tuple(dict.fromkeys(faults)),
            starved_s=self.pulse.take(),
        )

    def _name(self, verdict: Verdict) -> str:
        return self.region.machines.by_instance(verdict.holder).name if verdict.holder else "nobody"

    def _bare(self, each: Round) -> Expectation:
        region = self.region
        [floating] = region.floating
        return Expectation(
            scenario=str(each),
            ec2=region.profile.name,
            address=floating.target,
            carry=region.carry,
            carried=region.carried(floating),
            clients=frozenset(region.clients.names),
            max_gap_s=STOOD_STILL,
        )

    def _strike(self, each: Round, scenarios: Sequence[Scenario]) -> Iterator[str]:
        """Strike: the earlier misfortunes go on beside the last; yields why some could not be carried out."""
        failed: list[str] = []

        def do(scenario: Scenario) -> None:
            event = {"source": "nemesis", "name": scenario.name}
            try:
                holder = self.region.holder()
                time.sleep(scenario.watched_for)
                scenario.begin(self.region, holder)
                self.region.history.record({**event, "event": "begin", "title": scenario.title, "target": holder.name})
                scenario.strike(self.region, holder)
                self.region.history.record({**event, "event": "end", "target": holder.name})
            except Broken as error:
                failed.append(f"{scenario.name} could not be done: {type(error).__name__}: {error}")

        *others, last = scenarios
        threads = [threading.Thread(target=do, args=(one,), name=one.name, daemon=True) for one in others]
        for thread in threads:
            thread.start()
            time.sleep(each.pause)
        do(last)
        for thread in threads:
            thread.join()
        yield from failed

    def _wait_until_served(self, by: float, lasts: float, source: Machine, moves: int) -> None:
        """Wait for as long as the scenarios last, and until clients are served by the node that should serve them."""
        began = time.time()
        while time.time() - began < lasts or (not self._watch.is_served() and time.time() < by):
            time.sleep(0.1)
        while moves and not self._has_moved(source) and time.time() < by + MOVES_WITHIN:
            time.sleep(0.1)

    def _has_moved(self, source: Machine) -> bool:
        try:
            return self.region.holder() is not source
        except LookupError:
            return False

    def _record_leftovers(self) -> None:
        """Record what is still there when all has been well for a while."""
        deadline = time.monotonic() + CLEAN_WITHIN
        while (found := list(self._left())) and time.monotonic() < deadline:
            time.sleep(0.5)
        for what in found:
            self.region.history.record({"source": "lab", "event": "leftover", "what": what})

    def _left(self) -> Iterator[str]:
        yield from leftovers(self.region)
        now = _interfaces(self.region)
        if now != self._enis:
            yield f"{now} interfaces in EC2, {self._enis} before"


def together(bare: Expectation, profile: Profile, scenarios: Sequence[Scenario]) -> Expectation:
    """
    What may be seen of several scenarios at a time: what each may show, added up.

    The last one must show at least what it must show alone; if the address may move, clients may wait five seconds more
    than in that scenario alone, whatever went before.
    """
    each = [scenario.expect(bare, profile) for scenario in scenarios]
    moves = [one.max_moves for one in each]
    outages = [one.max_outage_s for one in each]
    exits = sum(one.max_agent_exits or scenario.agent_exits for one, scenario in zip(each, scenarios, strict=True))
    may_move = scenarios[-1].name in STRIKES
    return replace(
        bare,
        min_moves=each[-1].min_moves,
        max_moves=None if None in moves else sum(most or 0 for most in moves),
        max_outage_s=None
        if None in outages
        else sum(most or 0.0 for most in outages) + (SERVED_AGAIN if may_move else 0.0),
        # Each scenario is written for two observers.
        max_agent_exits=2 * exits,
        allowed_leftovers=frozenset().union(*(one.allowed_leftovers for one in each)),
    )


def _interfaces(region: Region) -> int:
    return len(region.administrator.describe_network_interfaces()["NetworkInterfaces"])
