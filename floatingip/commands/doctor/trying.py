"""Try who answers: a few packets to each, all at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from floatingip.commands.doctor.fleet import Met, Reached
from floatingip.core.groups import Worker
from floatingip.core.model import Address
from floatingip.core.peer import Sight
from floatingip.core.ports import Prober
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.word import Answer
from floatingip.edges import background
from floatingip.edges.probes.icmp import IcmpProber
from floatingip.edges.probes.tcp import KnockProber
from floatingip.edges.socket_filter import OWN_ANSWER
from floatingip.runtime.peers import Contact

TRIES = 3
"""How many probes are sent to one target: one lost packet does not mean that a security group is closed."""

APART = 0.1
"""Seconds between two probes."""

TIMEOUT = 0.7
"""Seconds after which a probe counts as lost."""

INTRODUCED_WITHIN = 2.0
"""Seconds that an observer may take to learn from EC2 who asks, or a holder to check whether it reaches the asker."""

PAUSE = 0.2
"""Seconds between two questions to it meanwhile."""

T = TypeVar("T")
U = TypeVar("U")


def beside(job: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """Do the job for each item, all at the same time; return the results in the items' order."""
    return [answer.result() for answer in [begin(job, item) for item in items]]


def begin(job: Callable[[T], U], item: T) -> Future[U]:
    """Begin the job in a thread of its own; return the future result."""
    return background.begin("doctor-beside", partial(job, item))


def meet(worker: Worker, contact: Callable[[Address], Contact], *, holds: bool) -> Met:
    """Ask another worker's observer, and ping and knock there; ``contact`` gives the observer at an address."""
    address = worker.instance.address
    assert address is not None, "who has none is not met"
    observer = contact(address)
    pinged, knocked = begin(pings, address), begin(_tried, KnockProber(address, observer.port, TIMEOUT))
    answer = _introduced(observer)
    if answer.status is None and not answer.refused:
        answer = _introduced(observer)
    led_here = _is_led_here(knocked.result(), pinged.result())
    return Met(worker, answer.status, answer.refused, pinged.result(), holds, led_here)


def _introduced(observer: Contact) -> Answer:
    return observer.ask_until_known(INTRODUCED_WITHIN, PAUSE, time.monotonic, time.sleep)


def reach(address: Address, target: str, holder: str, observer: Contact) -> Reached:
    """Ping a floating address that another instance, the ``holder``, has; knock at it; and have the holder's
    ``observer`` check whether it reaches this node's from there.

    That is not asked if no observer runs here: then the contact has no ``me``.
    """
    pinged = begin(pings, address)
    knocked = begin(_tried, KnockProber(address, observer.port, TIMEOUT))
    sight, until = Sight.UNTRIED, time.monotonic() + INTRODUCED_WITHIN
    while observer.me and sight is Sight.UNTRIED and time.monotonic() < until:
        status = observer.ask(doubted=(target,)).status
        if status is None:
            break
        sight = status.sights.get(target, Sight.UNTRIED)
        time.sleep(PAUSE)
    knock, led_here = knocked.result(), _is_led_here(knocked.result(), pinged.result())
    answered = knock.outcome is ProbeOutcome.ANSWERED
    return Reached(address, holder, pinged.result(), answered, sight, led_here)


def _is_led_here(knock: ProbeResult, pinged: bool | None) -> bool:
    """Whether this node itself answers what it sends to that port, or rejects it.  A rejection counts only if the
    address answers pings: otherwise this node rejects it perhaps because it cannot reach the address at all.
    """
    is_rejected = knock.detail.startswith(OWN_ANSWER) and pinged is True
    return knock.detail == OWN_ANSWER or is_rejected


def pings(address: Address) -> bool | None:
    """Whether the address answers a ping; None if this node could not send one."""
    outcome = tried(IcmpProber(address, TIMEOUT))
    return None if outcome is ProbeOutcome.FAILED_HERE else outcome is ProbeOutcome.ANSWERED


def tried(prober: Prober) -> ProbeOutcome:
    """Probe a few times: ANSWERED if any probe was, otherwise the outcome of the last one."""
    return _tried(prober).outcome


def _tried(prober: Prober) -> ProbeResult:
    sent, next_at, results = 0, time.monotonic(), list[ProbeResult]()
    while len(results) < TRIES:
        if sent < TRIES and time.monotonic() >= next_at:
            prober.send()
            sent, next_at = sent + 1, next_at + APART
        time.sleep(0.01)
        results += prober.collect()
        for result in results:
            if result.outcome is ProbeOutcome.ANSWERED:
                return result
    return results[-1]
