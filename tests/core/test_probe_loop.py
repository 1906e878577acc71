"""One thread for the probes of all addresses: who is probed when, and that nobody waits for another."""

import math
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from floatingip.core.model import ProbeOutcome, ProbeResult
from floatingip.runtime.threads import ProbeLoop, Probes, next_in_peace

ANSWERED, LOST, FAILED_HERE = ProbeOutcome.ANSWERED, ProbeOutcome.LOST, ProbeOutcome.FAILED_HERE

INTERVAL, FAST_INTERVAL = 400.0, 50.0

PATIENCE = 5.0
"""Seconds until something that should happen at once counts as not happening."""


class Script:
    """A prober of which comes what the test says: a known outcome at once, None not before `come`."""

    def __init__(self, *outcomes: ProbeOutcome | None, timeout: float = math.inf) -> None:
        self.sent: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._outcomes = list(outcomes)
        self._timeout = timeout
        self._under_way: list[tuple[float, ProbeOutcome | None]] = []
        self._ear, self._bell = socket.socketpair()

    def come(self) -> None:
        """An answer to what is under way comes now."""
        self._bell.send(b"!")

    def send(self) -> None:
        """See `ports.Prober`."""
        now = time.monotonic()
        self._under_way.append((now, self._outcomes.pop(0) if self._outcomes else None))
        self.sent.put(now)

    def collect(self) -> list[ProbeResult]:
        """See `ports.Prober`."""
        now, results = time.monotonic(), []
        while self._under_way:
            sent_at, outcome = self._under_way[0]
            if outcome is None and self._has_come():
                outcome = ANSWERED
            elif outcome is None and now >= sent_at + self._timeout:
                outcome = LOST
            if outcome is None:
                break
            results.append(ProbeResult(sent_at, now, outcome))
            self._under_way.pop(0)
        return results

    def due_at(self) -> float:
        """See `ports.Prober`."""
        if not self._under_way:
            return math.inf
        sent_at, outcome = self._under_way[0]
        # Far away, but under way.
        return sent_at + (0.0 if outcome is not None else min(self._timeout, 1000.0))

    def files(self) -> list[tuple[int, int]]:
        """See `ports.Prober`."""
        return [(self._ear.fileno(), 1)]

    def _has_come(self) -> bool:
        try:
            return bool(self._ear.recv(1, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False


@pytest.fixture(name="loop")
def _loop() -> Iterator[ProbeLoop]:
    """A loop that runs."""
    made = ProbeLoop()
    made.start()
    yield made
    for probes in made._followed:
        probes.stop()


def pace(probes: Probes) -> float:
    """Seconds between the last probe and the next."""
    assert probes._sent_at is not None
    return probes.due_at() - probes._sent_at


def wait(holds: Callable[[], bool]) -> None:
    """Until it holds, which should be soon."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_nothing_is_sent_until_it_is_on(loop: ProbeLoop) -> None:
    """A node that carries the address would only hear itself."""
    prober, other, results = Script(ANSWERED), Script(ANSWERED), queue.SimpleQueue[ProbeResult]()
    probes = loop.follow(prober, INTERVAL, FAST_INTERVAL, results.put)
    loop.follow(other, INTERVAL, FAST_INTERVAL, results.put).switch(on=True)
    assert results.get(timeout=PATIENCE).outcome is ANSWERED
    assert prober.sent.empty()
    probes.switch(on=True)
    assert results.get(timeout=PATIENCE).outcome is ANSWERED
    assert (prober.sent.qsize(), other.sent.qsize()) == (1, 1)


def test_the_first_probe_is_due_at_once_however_young_the_machine_is() -> None:
    """A clock that began a moment ago is nearer to zero than the interval is long: that is not when one was sent."""
    probes = ProbeLoop().follow(Script(), math.inf, math.inf, lambda result: None)
    assert probes.due_at() == math.inf
    probes.switch(on=True)
    assert probes.due_at() < time.monotonic()


def test_nothing_more_is_sent_once_it_is_off_or_stopped(loop: ProbeLoop) -> None:
    """But what is under way is still told, and another one goes on."""
    for end in (lambda probes: probes.switch(on=False), Probes.stop):
        prober, results = Script(ANSWERED), queue.SimpleQueue[ProbeResult]()
        probes = loop.follow(prober, 0.001, 0.001, results.put)
        probes.switch(on=True)
        results.get(timeout=PATIENCE)
        end(probes)
        witness = loop.follow(Script(*[ANSWERED] * 9), 0.001, 0.001, results.put)
        witness.switch(on=True)
        results.get(timeout=PATIENCE)
        sent = prober.sent.qsize()
        for _ in range(8):
            results.get(timeout=PATIENCE)
        assert prober.sent.qsize() == sent
        witness.stop()


@pytest.mark.parametrize(
    ("outcomes", "calm"),
    [
        ([ANSWERED], True),
        ([FAILED_HERE], True),
        ([LOST], False),
        ([LOST, FAILED_HERE], False),
        ([LOST, FAILED_HERE, ANSWERED], True),
    ],
)
def test_probing_speeds_up_from_a_loss_to_an_answer(outcomes: list[ProbeOutcome], calm: bool) -> None:
    """Before anybody has heard of it: the deciding thread may be late; a failure of this node changes no pace."""
    told: list[float] = []
    loop = ProbeLoop()
    probes = loop.follow(Script(*outcomes), INTERVAL, FAST_INTERVAL, lambda result: told.append(pace(probes)))
    probes.switch(on=True)
    for _ in outcomes:
        probes.send()
        probes.collect()
    assert (told[-1] == pytest.approx(FAST_INTERVAL)) != calm


def test_the_loop_follows_the_pace(loop: ProbeLoop) -> None:
    """The next probe after a loss comes after the short interval, though the long one is hours."""
    prober, results = Script(LOST, LOST, ANSWERED), queue.SimpleQueue[ProbeResult]()
    loop.follow(prober, 10000.0, 0.01, results.put).switch(on=True)
    assert [results.get(timeout=PATIENCE).outcome for _ in range(3)] == [LOST, LOST, ANSWERED]
    assert prober.sent.qsize() == 3


def test_an_answer_is_told_when_it_comes_and_silence_when_it_is_over(loop: ProbeLoop) -> None:
    """Nobody waits for another address: neither for its answer nor for its timeout."""
    silent, slow, quick = Script(None, timeout=0.05), Script(None), Script(ANSWERED)
    results = queue.SimpleQueue[tuple[Script, ProbeOutcome]]()

    def tell(prober: Script) -> Callable[[ProbeResult], None]:
        return lambda result: results.put((prober, result.outcome))

    for prober in (silent, slow, quick):
        loop.follow(prober, INTERVAL, INTERVAL, tell(prober)).switch(on=True)
    assert results.get(timeout=PATIENCE) == (quick, ANSWERED)
    assert results.get(timeout=PATIENCE) == (silent, LOST)
    slow.come()
    assert results.get(timeout=PATIENCE) == (slow, ANSWERED)


def test_a_loop_with_nothing_to_do_does_not_spin(loop: ProbeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for what comes, and is woken by what is new."""
    turns: list[float] = []
    wait_once, told = loop._wait, threading.Event()

    def counted() -> None:
        turns.append(time.monotonic())
        wait_once()

    monkeypatch.setattr(loop, "_wait", counted)
    prober = Script(None)
    loop.follow(prober, INTERVAL, INTERVAL, lambda result: told.set()).switch(on=True)
    wait(lambda: prober.sent.qsize() == 1)
    prober.come()
    assert told.wait(PATIENCE)
    time.sleep(0.05)
    assert len(turns) < 10


def test_in_peace_probes_of_many_addresses_come_together() -> None:
    """Four groups at most, whenever they began; none ever waits longer than the interval, and none much shorter."""
    interval, began = 0.25, [1000 + number * 0.0137 for number in range(50)]
    first = [next_in_peace(sent_at, interval) for sent_at in began]
    assert all(0.75 * interval <= due_at - sent_at <= interval for sent_at, due_at in zip(began, first, strict=True))
    assert len({due_at % interval for due_at in first}) == 4
    # Each is sent a moment after it is due, which must not add up.
    second = [next_in_peace(due_at + 0.001, interval) for due_at in first]
    assert [after - before for before, after in zip(first, second, strict=True)] == [interval] * 50
