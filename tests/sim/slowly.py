"""
An EC2 that is slow to answer each single call: a job (a look, a write) waits for one answer after the other.

Each time that an answer has come, the job is run again from its beginning: the calls that have answers get them at
once, and the first call without one is made.  How long a call waits, and when a question is asked again beside the
first, is as in `floatingip.edges.ec2.asking`.  So the answer to a later attempt may come first, and an answer may come
long after its question was given up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from floatingip.agent.events import Event
from floatingip.core.errors import CloudError, CloudUnavailable
from floatingip.edges.ec2.asking import AGAIN_AFTER, GIVEN_UP_AFTER, MOST_BESIDE
from tests.sim.line import WRITES, Hung, Killed

if TYPE_CHECKING:
    from floatingip.runtime.calls import Calls
    from tests.sim.observer import Observer

ACTS_WITHIN = 2.0
"""Seconds within which EC2 carries out a write, however late it answers."""


class Waiting(BaseException):
    """The job waits for an answer."""


@dataclass
class Slowly:
    """One ``job`` of an observer; each of its calls to EC2 takes a number of seconds between those of ``takes``, and
    ``calls`` counts them.

    ``began``: when the job began; as long as it runs, its own clock shows this time.
    """

    observer: Observer
    job: Callable[[], None]
    takes: tuple[float, float]
    calls: Calls
    began: float
    posted: list[Event] = field(default_factory=list)
    _outcomes: list[Any] = field(default_factory=list)
    _made: int = 0

    def go_on(self) -> None:
        """Run the job as far as it has answers."""
        observer, self._made, self.posted = self.observer, 0, []
        self.calls.made.clear()
        observer.slowly = self
        try:
            self.job()
        except Waiting:
            return
        finally:
            observer.slowly = None
        observer.waiting.discard(self.began)
        for event in self.posted:
            observer.post(event)

    def answer(self, name: str, make: Callable[[], Any]) -> Any:
        """The answer to the job's next call; raises the error that came instead, or Waiting."""
        self._made += 1
        if self._made > len(self._outcomes):
            self._ask(name, make)
            raise Waiting
        outcome = self._outcomes[self._made - 1]
        if isinstance(outcome, CloudError):
            raise outcome
        return outcome

    def _ask(self, name: str, make: Callable[[], Any]) -> None:
        fleet, paces = self.observer.worker.fleet, self.observer.ec2_paces
        pace, number = paces.get(name, 0.0), len(self._outcomes)
        patience = min(fleet.settings.ec2_timeout, max(GIVEN_UP_AFTER, 2 * pace))
        begins = [0.0]
        if name not in WRITES:
            again = max(AGAIN_AFTER, 1.5 * pace)
            begins += [again * attempt for attempt in range(1, MOST_BESIDE) if again * attempt < patience]
        for begin in begins:
            fleet.after(begin, partial(self._attempt, name, make, number))
        give_up = partial(self._comes, CloudUnavailable(f"{name}: no answer within {patience:g} s"), number)
        self.observer.later(patience, give_up)

    def _attempt(self, name: str, make: Callable[[], Any], number: int) -> None:
        """EC2 gets the call, unless that was answered before; even if the observer has ended meanwhile."""
        if len(self._outcomes) > number:
            return
        fleet = self.observer.worker.fleet
        takes = fleet.chance.uniform(*self.takes)
        acts_in = fleet.chance.uniform(0.0, min(takes, ACTS_WITHIN) if name in WRITES else takes)

        def act() -> None:
            try:
                outcome = make()
            except CloudError as error:
                outcome = error
            except (Hung, Killed):
                return
            self.observer.later(takes - acts_in, partial(self._comes, outcome, number, name, takes))

        fleet.after(acts_in, act)

    def _comes(self, outcome: Any, number: int, name: str = "", takes: float = 0.0) -> None:
        """An answer has come, or the call is given up."""
        if name:
            self.observer.ec2_paces[name] = takes
        if len(self._outcomes) == number:
            self._outcomes.append(outcome)
            self.go_on()
