"""What an observer costs EC2 while nothing changes: bounded a minute in every state, whatever comes of its writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from floatingip.agent.standing import StandingMemory, StandingView, keep
from floatingip.core import pace
from floatingip.core.decision.decision import State
from floatingip.core.ec2 import Eni
from floatingip.core.health import Health, HealthState
from floatingip.core.writes import Written
from tests.core.deciders import SETTINGS, Observer, written_at
from tests.core.movers import IPV6, Mover, standing

FIRST_MINUTE, LATER_MINUTES = (60, 30), (10, 5)
"""Questions and writes in the first minute after something changed (two questions a second for 20 s, then fewer and
fewer), and in each minute from the third on."""


@dataclass
class Calls:
    """When EC2 was asked, and when written to."""

    looks: list[float]
    writes: list[float]

    def check(self, began: float) -> None:
        """They are bounded, in each minute."""
        for minute, (looks, writes) in {0: FIRST_MINUTE, 2: LATER_MINUTES, 3: LATER_MINUTES}.items():
            since, until = began + 60 * minute, began + 60 * (minute + 1)
            assert sum(since <= at < until for at in self.looks) <= looks, f"questions in minute {minute}"
            assert sum(since <= at < until for at in self.writes) <= writes, f"writes in minute {minute}"


def watch(observer: Observer, words: str, began: float, *, accepted: bool) -> Calls:
    """Four minutes in which EC2 always answers the same, and takes each write without any effect, or refuses it."""
    calls, now, seen = Calls([], []), began, words
    while now < began + 240:
        decision = observer.see(now, seen)
        calls.looks += [now] if seen else []
        if decision.write is not None:
            calls.writes.append(now)
            observer.view = written_at(observer.view, now, decision.write, accepted=accepted)
        now += 0.25 if now < began + 60 else 1.0
        seen = words if now >= decision.look_at else ""
    return calls


STATES = {
    "no name": "ec2:a1@i-a name:",
    "not ours": "ec2:a1@i-a name:another",
    "absent": "ec2:absent",
    "free": "ec2:free",
    "free, but full": "ec2:free full:",
    "attaching here": "ec2:a1@i-b/attaching link:none",
    "no device": "ec2:a1@i-b link:none",
    "held": "ec2:a1@i-b link:sound",
    "unsound": "ec2:a1@i-b link:unsound",
    "detaching here": "ec2:a1@i-b/detaching link:sound",
    "detaching": "ec2:a1@i-a/detaching word:silent",
    "settling": "ec2:a1@i-a probe:L word:silent",
    "attaching": "ec2:a1@i-a/attaching word:silent probe:L",
    "ended": "ec2:a1@i-a/attached/terminated probe:L",
    "leaving": "ec2:a1@i-a word:leaving",
    "unsound holder": "ec2:a1@i-a word:unsound probe:A",
    "answers": "ec2:a1@i-a word:sound probe:A",
    "answers, but no observer": "ec2:a1@i-a/attached/running word:silent probe:A",
    "answers, but ends": "ec2:a1@i-a/attached/stopping word:silent probe:A full:",
}


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize("words", STATES.values(), ids=STATES)
@pytest.mark.parametrize("began", [0.5, 2e8])
def test_a_view_that_does_not_change_costs_less_and_less(words: str, accepted: bool, began: float) -> None:
    """With an ENI that moves, on a machine that has just booted or runs for years."""
    observer = Observer(settings=SETTINGS)
    watch(observer, words, began, accepted=accepted).check(began)


MOVING = {
    "absent": "ec2:absent",
    "an orphan": "ec2:i-a/free",
    "detaching": "ec2:i-a/detaching",
    "ended": "ec2:i-a/attached/terminated probe:L",
    "leaving": "ec2:i-a word:leaving",
    "here without a link": "ec2:i-b link:none",
    "here, not plumbed": "ec2:i-b link:ahead",
    "held": "ec2:i-b link:sound",
    "settling": "ec2:i-a probe:L word:silent",
}


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize("words", MOVING.values(), ids=MOVING)
@pytest.mark.parametrize("make", [Mover, lambda: Mover(target=IPV6)], ids=["IPv4", "IPv6"])
def test_where_addresses_move_it_costs_no_more(make: Callable[[], Mover], words: str, accepted: bool) -> None:
    """Also where an answer must be fresh before each claim."""
    observer = make()
    watch(observer, words, 0.5, accepted=accepted).check(0.5)


def test_an_instance_that_is_described_now_and_then_is_no_news() -> None:
    """While its address is being taken over in vain it is not asked about; before each try it is."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA link:ahead")
    mover.see(9.0, "ec2:i-a/attached/running probe:LLLLLLLL word:silent")
    now, seen, asked = 10.0, "ec2:i-a", []
    while now < 240.0:
        decision = mover.see(now, seen)
        asked += [now] if seen else []
        if decision.write is not None:
            mover.view = written_at(mover.view, now, decision.write, accepted=False)
        now += 0.25
        state = "/attached/running" if decision.state is State.DOUBT else ""
        seen = f"ec2:i-a{state} probe:L" if now >= decision.look_at else ""
    assert sum(at >= 130.0 for at in asked) <= 2 * LATER_MINUTES[0]


@pytest.mark.parametrize("words", ["ec2:free", "ec2:a1@i-a/attached/terminated probe:L"], ids=["claim", "detach"])
def test_ec2_is_asked_twice_at_most_for_each_write_that_it_refuses(words: str) -> None:
    """What came of it, and whether it is still right before it is made again."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    began, now, seen = 9.0, 9.0, words
    looks, writes = 0, 0
    while now < began + 60:
        decision = observer.see(now, seen)
        looks += bool(seen)
        if decision.write is not None:
            writes += 1
            retry_at = {**observer.view.retry_at, type(decision.write): now + min(2.0**writes, 15.0)}
            observer.view = replace(observer.view, written=Written(ended_at=now), retry_at=retry_at)
        now += 0.25
        seen = words if now >= decision.look_at else ""
    assert writes > 4
    assert looks <= 2 * writes + 2


def test_while_a_write_is_under_way_ec2_is_asked_once_a_second() -> None:
    """By what it shows then nothing can be written."""
    observer = Observer().fall()
    assert observer.see(10.1, "ec2:a1@i-a probe:L").write is not None
    assert observer.see(10.2, "ec2:a1@i-a probe:L", writing=True).look_at == pytest.approx(11.2)


def test_services_that_fall_at_an_address_that_does_not_answer_are_no_news() -> None:
    """Each would begin the pace anew."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA", services={30007: Health("a1", HealthState.UP)})
    observer.see(9.0, "ec2:a1@i-a probe:L")
    changed_at = observer.memory.changed_at
    observer.see(15.0, "ec2:a1@i-a probe:L", services={30007: Health("a1", HealthState.DOWN)})
    assert observer.memory.changed_at == changed_at


def test_a_dead_holder_that_cannot_be_relieved_costs_less_and_less() -> None:
    """IAM or EC2 refuses each Detach, for hours."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    observer.see(9.0, "ec2:a1@i-a/attached/running probe:LLLLLLLL word:silent")
    calls = watch(observer, "ec2:a1@i-a/attached/running probe:L", 10.0, accepted=False)
    calls.check(10.0)
    assert calls.writes


STANDING: dict[str, tuple[Eni, ...]] = {
    "none": (),
    "free": (standing("i-b", status=None),),
    "attached": (standing("i-b"),),
}


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize("device", [True, False, None])
@pytest.mark.parametrize("shown", STANDING.values(), ids=STANDING)
def test_a_standing_eni_that_does_not_change_costs_less_and_less(
    shown: tuple[Eni, ...], device: bool | None, accepted: bool
) -> None:
    """That it is created, attached or mended in vain too."""
    memory, calls, now, asked_at, written = StandingMemory(), Calls([], []), 0.5, 0.5, Written()
    while now < 240.5:
        if now == asked_at:
            calls.looks.append(now)
        view = StandingView(now, "i-b", asked_at, shown, {}, groups=("sg-9",), device=device, written=written)
        memory, decided = keep(memory, view)
        if decided.write is not None:
            calls.writes.append(now)
            written = Written(ended_at=now, accepted=decided.write if accepted else None)
        now += 0.25 if now < 60 else 1.0
        asked_at = now if now >= decided.look_at else asked_at
    calls.check(0.5)


def test_the_pace_is_quick_at_first_and_slow_in_the_end() -> None:
    """Two questions a second for twenty seconds; a slow EC2 is still noticed within a fraction of the time it took."""
    assert [pace.pause(seconds) for seconds in (0.0, 3.0, 20.0, 30.0, 3600.0)] == [0.25, 0.5, 2.0, 7.0, 15.0]
    asked_at, asked = 0.0, 0
    while asked_at < 20.0:
        asked_at += pace.pause(asked_at)
        asked += 1
    assert asked <= 2 * 20 + 5


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
def test_a_question_that_takes_more_calls_is_asked_less_often(calls: int) -> None:
    """It is calls that the account's limit counts."""
    asked_at, asked = 0.0, 0
    while asked_at < 60.0:
        asked_at += pace.pause(asked_at, calls)
        asked += 1
    assert calls * asked <= FIRST_MINUTE[0]


@pytest.mark.parametrize(("times", "pause"), [(0, 0.5), (1, 1.0), (4, 8.0), (5, 15.0), (100_000, 15.0)])
def test_a_pause_doubles_with_each_failure_until_it_is_the_longest(times: int, pause: float) -> None:
    """However many there were: doubled a thousand times it would be no number."""
    assert pace.doubled(0.5, times, 15.0) == pause
