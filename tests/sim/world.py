"""
A standby's detection in simulated time: its probes, its questions to the holder and to EC2, and their answers.

Probes, questions and looks are timed as `threads.ProbeLoop`, `peers.Asker` and `runner.Runner` time them; their results
go through the real `health.observe` and `decide.decide`.  Decisions are not carried out: a run ends with the first
takeover.  The world helps as little as possible after a stall or a death: there is no other observer, and EC2 calls the
holder's instance running in any case.

Time goes from event to event.  What is repeated in peace without any effect is counted, not simulated.
"""

from __future__ import annotations

import heapq
import math
import random
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count

from floatingip.core import health as probing
from floatingip.core import timing
from floatingip.core.decision.decide import decide
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.view import Memory, View
from floatingip.core.ec2 import Attachment, AttachmentStatus, Owner
from floatingip.core.health import Health, HealthState
from floatingip.core.peer import Word, WordState
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings
from floatingip.runtime.probing import next_in_peace
from tests.core.deciders import ADDRESS, NAME, WALL, eni, instance

SETTINGS = Settings((ADDRESS,))
"""The default settings."""

HOUR = 3600.0

ROUND_TRIP = 0.001
"""Seconds until a probe or a question is answered, within a zone."""

EC2_TAKES = 0.1
"""Seconds until EC2 answers a Describe."""

HOLDER, STANDBY = "i-a", "i-b"
ATTACHMENT = Attachment("a1", HOLDER, 1, AttachmentStatus.ATTACHED)


class Stalled(Enum):
    """What stands still, and therefore which packets are lost meanwhile."""

    PATH = auto()
    """Lost: probes.  The holder's primary address can be reached."""

    HOLDER = auto()
    """Lost: probes, and questions to the holder."""

    NETWORK = auto()
    """This node's own network.  Lost: probes, and questions to the holder; EC2 answers at the stall's end."""

    OBSERVER = auto()
    """The observing process does not run: it sends and reads nothing, so nothing is lost."""


@dataclass(frozen=True, slots=True)
class Stall:
    """``what`` stands still from `began_at` on, for so many `seconds`."""

    what: Stalled
    began_at: float
    seconds: float = 0.9

    @property
    def ends_at(self) -> float:
        """The time from which all goes well again."""
        return self.began_at + self.seconds


def one_each_hour(what: Stalled, hours: int, seed: int) -> tuple[Stall, ...]:
    """One stall in each hour, at a random time between its second and its last minute."""
    chance = random.Random(seed)
    return tuple(Stall(what, hour * HOUR + chance.uniform(60, HOUR - 60)) for hour in range(hours))


class World:
    """A holder that serves until `dies_at`, and a standby that watches it; each probe is lost with the probability
    `loss`.

    `takeovers`: when the standby decided to take over (once at most); `verdicts`: when probes alone found the address
    DOWN.
    """

    def __init__(
        self,
        seed: int,
        settings: Settings = SETTINGS,
        *,
        loss: float = 0.0,
        stalls: Sequence[Stall] = (),
        dies_at: float = math.inf,
    ) -> None:
        self.now = 0.0
        self.probes = 0
        self.lost = 0
        self.verdicts: list[float] = []
        self.takeovers: list[float] = []
        self._settings = settings
        self._loss = loss
        self._stalls = stalls
        self._stalls_begin = [stall.began_at for stall in stalls]
        self._dies_at = dies_at
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

        self._owner = self._shown()
        self._health = Health(ATTACHMENT.id)
        self._word = Word()
        self._memory = Memory()
        self._decision = Decision(State.START, Reason.EC2_SILENT, Rule.R9, look_at=0.0)

        self._answered_before_loss = self._next_loss()
        self._under_way: deque[ProbeResult] = deque()
        self._sent_at, self._asked_at = -settings.probe_interval, -math.inf
        self._asking = self._hurried = self._looking = False
        self._wakes = {self._probe: 0, self._ask: 0, self._look: 0}
        self._end = 0.0
        self._wake(self._probe, self._chance.uniform(0.0, settings.probe_interval))
        self._wake(self._ask, self._chance.uniform(0.0, timing.ASK_EVERY))
        self._decide()

    def run(self, seconds: float) -> None:
        """Let so many seconds pass, or fewer if there is a takeover."""
        self._end = self.now + seconds
        while self._events and self._events[0][0] < self._end and not self.takeovers:
            at, _, event = heapq.heappop(self._events)
            stall = self._stall(at)
            if stall is not None and stall.what is Stalled.OBSERVER:
                self._at(stall.ends_at, event)
            else:
                self.now = at
                event()
        if not self.takeovers:
            self.now = self._end

    # The network.

    def _stall(self, at: float) -> Stall | None:
        """The stall at that time, None if there is none."""
        index = bisect_right(self._stalls_begin, at) - 1
        return self._stalls[index] if index >= 0 and at < self._stalls[index].ends_at else None

    def _is_lost(self, at: float, *what: Stalled) -> bool:
        """Whether a packet sent at that time gets no answer: the holder is dead, or one of ``what`` is stalled."""
        stall = self._stall(at)
        return at >= self._dies_at or (stall is not None and stall.what in what)

    def _times(self, first: float, every: float) -> int:
        """How often something happens from `first` on until the next stall, the holder's death, or the run's end."""
        index = bisect_right(self._stalls_begin, self.now)
        stall_at = self._stalls_begin[index] if index < len(self._stalls) else math.inf
        return max(0, math.ceil((min(self._dies_at, stall_at, self._end) - first) / every))

    def _next_loss(self) -> int:
        """How many probes are answered until chance loses one."""
        if not self._loss:
            return sys.maxsize
        return math.floor(math.log(1.0 - self._chance.random()) / math.log(1.0 - self._loss))

    def _at(self, at: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._number), event))

    def _wake(self, sleeper: Callable[[], None], at: float) -> None:
        """Let ``sleeper`` run at that time, instead of at the time that was set before."""
        self._wakes[sleeper] += 1
        wake = self._wakes[sleeper]
        self._at(at, lambda: sleeper() if wake == self._wakes[sleeper] else None)

    def _in_peace(self) -> bool:
        """Whether one more answer to anything would change nothing."""
        nothing_under_way = not self._under_way and not self._asking and self._stall(self.now) is None
        return nothing_under_way and self._decision.reason is Reason.ANSWERS and self._word.state is WordState.SOUND

    # The prober: threads.ProbeLoop.

    def _due_at(self) -> float:
        if self._health.in_doubt:
            return self._sent_at + self._settings.probe_fast_interval
        return next_in_peace(self._sent_at, self._settings.probe_interval)

    def _probe(self) -> None:
        """First handle the probes whose results are known, in the order of sending; then send the next one, if it is
        due.
        """
        while self._under_way and self._under_way[0].known_at <= self.now:
            self._probed(self._under_way.popleft())
        if self.now >= self._due_at():
            self._send()
        wake_at = self._due_at()
        if self._under_way:
            wake_at = min(wake_at, self._under_way[0].known_at)
        elif self._in_peace():
            passed = min(self._answered_before_loss, self._times(wake_at, self._settings.probe_interval))
            self._answered_before_loss -= passed
            self.probes += passed
            wake_at += passed * self._settings.probe_interval
            self._sent_at = wake_at - self._settings.probe_interval
        self._wake(self._probe, wake_at)

    def _send(self) -> None:
        self._sent_at = self.now
        self.probes += 1
        stalled = self._is_lost(self.now, Stalled.PATH, Stalled.HOLDER, Stalled.NETWORK)
        by_chance = self._answered_before_loss == 0
        self._answered_before_loss = self._next_loss() if by_chance else self._answered_before_loss - 1
        if stalled or by_chance:
            self.lost += 1
            outcome, known_at = ProbeOutcome.LOST, self.now + self._settings.probe_timeout
        else:
            outcome, known_at = ProbeOutcome.ANSWERED, self.now + ROUND_TRIP
        stall = self._stall(known_at)
        if stall is not None and stall.what is Stalled.OBSERVER:
            known_at = stall.ends_at
        self._under_way.append(ProbeResult(self.now, known_at, outcome))

    def _probed(self, result: ProbeResult) -> None:
        before, settings = self._health, self._settings
        limits = {"rise": settings.rise, "fall": settings.fall}
        self._health = probing.observe(before, result, timeout=settings.probe_timeout, **limits)
        if self._health.state is HealthState.DOWN and before.state is not HealthState.DOWN:
            self.verdicts.append(self.now)
        if self._health.in_doubt and not before.in_doubt:
            self._hurried = True
            if not self._asking:
                self._wake(self._ask, self.now)
        self._decide_in_doubt()

    # The questions to the holder: peers.Asker.

    def _ask(self) -> None:
        self._asked_at, self._asking, self._hurried = self.now, True, False
        if self._is_lost(self.now, Stalled.HOLDER, Stalled.NETWORK):
            self._at(self.now + timing.ASK_TIMEOUT, lambda: self._heard(WordState.SILENT))
        else:
            self._at(self.now + ROUND_TRIP, lambda: self._heard(WordState.SOUND))

    def _heard(self, state: WordState) -> None:
        self._asking = False
        self._word = Word(state, self._word.since if state is self._word.state else self.now)
        self._decide_in_doubt()
        ask_at = self.now if self._hurried else max(self.now, self._asked_at + timing.ASK_EVERY)
        if self._in_peace():
            ask_at += self._times(ask_at, timing.ASK_EVERY) * timing.ASK_EVERY
        self._wake(self._ask, ask_at)

    # The looks at EC2: runner.Runner.

    def _look(self) -> None:
        self._looking = True
        stall, owner = self._stall(self.now), self._shown()
        waits = stall is not None and stall.what is Stalled.NETWORK
        answered_at = stall.ends_at if stall is not None and waits else self.now + EC2_TAKES
        self._at(answered_at, lambda: self._looked(owner))

    def _looked(self, owner: Owner) -> None:
        self._looking = False
        self._owner = owner
        self._decide()

    def _shown(self) -> Owner:
        """What EC2 answers if it is asked now."""
        return Owner(self.now, eni(ATTACHMENT), {HOLDER: instance(HOLDER)})

    # The decision: watch.Watch.

    def _decide_in_doubt(self) -> None:
        """Decide, if there is doubt: in peace only EC2's answers, one a minute, lead to a decision."""
        doubtful = self._health.in_doubt or self._word.state is not WordState.SOUND
        if doubtful or self._decision.reason is not Reason.ANSWERS:
            self._decide()

    def _decide(self) -> None:
        self._memory, self._decision = decide(self._memory, self._view(), self._settings)
        if self._decision.state is State.TAKEOVER and self._decision.write is not None:
            self.takeovers.append(self.now)
        if not self._looking:
            self._wake(self._look, max(self.now, self._decision.look_at))

    def _view(self) -> View:
        return View(
            now=self.now,
            wall=WALL + self.now,
            target=ADDRESS,
            me=STANDBY,
            name=NAME,
            owner=self._owner,
            health=self._health,
            word=self._word,
            witness_at=self._witnessed_at(),
        )

    def _witnessed_at(self) -> float:
        """When the API server answered last: it is asked again and again, and answers unless this node's network stands
        still.
        """
        stall = self._stall(self.now)
        return stall.began_at if stall is not None and stall.what is Stalled.NETWORK else self.now
