"""
One failover after the other, and what is left of them: memory, threads, files, rules, routes, addresses, interfaces.

The holder loses power, and gets it back when another worker serves.  One worker is spared that: when it holds the
address its kernel hangs, and goes on later.  So its observer lives through all failovers, as holder, as former holder
and as standby.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lab.ec2 import Profile
from lab.run import census
from lab.run.census import Census
from lab.run.compose import Round
from lab.run.rack import Outcome
from lab.run.torture import WORKERS, racked

SPARED = "worker-a"
"""The worker whose observer lives as long as the soak."""

POWER_CUT, HANG = "power-cut", "kernel-hang"

BOOT_TAKES = 1.0
"""Seconds from the power button until the kubelet runs: how long a machine is off does not matter here."""

SETTLED_AFTER = 10.0
"""Seconds of calm before counting: all calls that follow a move have ended by then."""


@dataclass(frozen=True)
class Soaked:
    """The result: the failovers, and the counts after the first and after the last."""

    failovers: tuple[Outcome, ...]
    took_s: float
    before: Census
    after: Census

    @property
    def leaks(self) -> tuple[str, ...]:
        """What has leaked, in words."""
        return census.leaks(self.before, self.after)

    @property
    def ok(self) -> bool:
        """Whether nothing leaked, and no failover was faulty."""
        return not self.leaks and all(one.ok or one.undecided for one in self.failovers)


@dataclass
class Soak:
    """What is asked for: failovers until the minutes are over, or so many; the first one, a warm-up, counts as well."""

    profile: Profile
    minutes: float | None
    failovers: int | None
    seed: int
    carry: str

    def run(self, tell: Callable[[Outcome], None], record_to: Path | None = None) -> Soaked:
        """
        Soak until then, or until somebody interrupts; call `tell` with each failover once it is judged.

        Raises TimeoutError if it cannot begin, LookupError if nobody can be counted at the end.
        """
        done: list[Outcome] = []
        began = time.monotonic()
        with racked(self.profile, WORKERS, self.seed, self.carry, record_to) as rack:
            region = rack.region
            region.power.boot_takes = BOOT_TAKES
            before: Census | None = None
            try:
                for number in count(1):
                    name = HANG if region.holder().name == SPARED else POWER_CUT
                    done.append(rack.suffer(Round(number, (name,), 0.0)))
                    tell(done[-1])
                    if before is None:
                        time.sleep(SETTLED_AFTER)
                        before = census.take(region)
                    if rack.is_broken or self._is_enough(number, time.monotonic() - began):
                        break
            except KeyboardInterrupt:
                pass  # all failovers that were judged have been reported
            if before is None:
                raise TimeoutError("interrupted before the first failover: there is nothing to compare with")
            time.sleep(SETTLED_AFTER)
            return Soaked(tuple(done), time.monotonic() - began, before, census.take(region))

    def _is_enough(self, failovers: int, took_s: float) -> bool:
        if self.failovers is not None:
            return failovers >= self.failovers
        return took_s >= (self.minutes or 0.0) * 60.0
