"""The pace of probing, with a prober that knows each loss at once."""

import threading
import time

from floatingip.model import ProbeOutcome, ProbeResult
from floatingip.threads import ProbeLoop

INTERVAL, FAST_INTERVAL = 30.0, 20.0


class Answers:
    """A prober whose n-th probe comes to the n-th outcome at once; `waits` is how long the loop then waits."""

    def __init__(self, *outcomes: ProbeOutcome) -> None:
        self.waits: list[float] = []
        self.done = threading.Event()
        self._outcomes = list(outcomes)

    def send(self) -> None:
        """Nothing is sent: what comes of it is given."""

    def collect(self, until: float) -> list[ProbeResult]:
        now = time.monotonic()
        self.waits.append(until - now)
        if self._outcomes:
            return [ProbeResult(now, now, self._outcomes.pop(0))]
        self.done.set()
        threading.Event().wait()
        raise AssertionError("unreachable")


def test_probing_speeds_up_before_anybody_has_heard_of_the_loss() -> None:
    """What the deciding thread makes of it may come too late for the next probe; a failure here changes no pace."""
    answered, lost, failed_here = ProbeOutcome.ANSWERED, ProbeOutcome.LOST, ProbeOutcome.FAILED_HERE
    prober = Answers(failed_here, lost, failed_here, answered)
    loop = ProbeLoop(prober, INTERVAL, FAST_INTERVAL, lambda result: None)
    loop.start()
    loop.switch(on=True)
    assert prober.done.wait(5)
    assert [round(wait, -1) for wait in prober.waits] == [30, 30, 20, 20, 30]
