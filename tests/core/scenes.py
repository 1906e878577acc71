"""
Scenes: what one observer sees and decides over time, written as text.

A scene is a claim, which names the test, and below it, indented, the transcript that shows it::

    the second in rank waits two seconds, as the first may be about to claim  [i-b]
        0.0        ec2:free peer:i-a  -> claiming FREE_BUT_LATER R1; look 2.0
        1.0..1.9/0.3  peer:i-a        -> no write
        2.1        ec2:free peer:i-a  -> claiming FREE R1 attach

In brackets stands who decides, by default i-b.  The first word of a line is the time, or a first and a last one with a
step; ``fallen`` in its place does what ``Observer.fall`` says.  Then comes what is seen, as ``Observer.see`` takes it,
and ``NAME=VALUE`` for a field of its view.  After the arrow stands what is decided then: STATE REASON RULE [WRITE], a
REASON alone, ``not REASON``, a write alone, or ``no write``; and what else is so of the decision, after semicolons
(``FACTS``).  A line without an arrow asserts nothing.  The time in a record of the ration, R4@-30/a1, is that of the
transcript.  ``#`` begins a comment.

``Keeper.see`` of test_standing.py takes other words, and decides on a standing ENI.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import dedent
from typing import Any, Protocol

import pytest

from floatingip.agent.standing import Standing
from floatingip.core.decision.decision import Decision, Rule
from floatingip.core.ec2 import Eni
from tests.core.deciders import WALL, Observer, shown, written


class Decider(Protocol):
    """Whoever decides on what it is told; ``Observer`` is one."""

    def see(self, now: float, words: str = "", **changes: Any) -> Any:
        """What is decided at ``now`` after what the words tell, and with these fields of the view."""


FACTS: dict[str, Callable[[Any, str], bool]] = {
    "about": lambda decision, value: decision.detail == value,
    "carries": lambda decision, value: decision.extent.name == value,
    "judged": lambda decision, value: decision.attachment_id == value,
    "leaving": lambda decision, value: decision.leaving == value,
    "look": lambda decision, value: decision.look_at == pytest.approx(float(value)),
    "look-by": lambda decision, value: decision.look_at <= float(value),
    "obliged": lambda decision, value: decision.obliged is (value == "yes"),
    "reason": lambda decision, value: decision.reason.name == value,
    "rule": lambda decision, value: decision.rule is Rule(value),
    "says": lambda decision, value: value in _sentence(decision),
    "state": lambda decision, value: decision.state == value,
    # Of a standing ENI.
    "bound": lambda decision, value: _id(decision.bound) == value,
    "has": lambda decision, value: _id(decision.eni) == value,
    "lacks": lambda decision, value: (decision.problem or "nothing") == value,
}
"""What may be claimed of a decision, by the first word: ``look 4.0`` is when EC2 is asked next."""


def _sentence(decision: Decision | Standing) -> str:
    return decision.sentence if isinstance(decision, Decision) else decision.problem


def _id(eni: Eni | None) -> str:
    return eni.id if eni is not None else "none"


@dataclass(frozen=True)
class Scene:
    """One claim with its transcript."""

    claim: str
    me: str
    transcript: str


def scenes(text: str, kind: Callable[..., Decider] = Observer) -> Callable[[Scene], None]:
    """A test that plays each of these scenes with an observer of that kind."""
    found = list(_read(dedent(text)))

    @pytest.mark.parametrize("scene", found, ids=[re.split("[:;.]", scene.claim)[0] for scene in found])
    def play(scene: Scene) -> None:
        replay(scene.transcript, kind(scene.me) if scene.me else kind())

    return play


def _read(text: str) -> Iterator[Scene]:
    for block in re.split(r"\n\n+(?=\S)", text.strip()):
        lines = block.splitlines()
        claim = " ".join(line for line in lines if not line.startswith(" "))
        claim, _, me = claim.partition("  [")
        yield Scene(claim, me.rstrip("]"), "\n".join(line for line in lines if line.startswith(" ")))


def replay(transcript: str, decider: Decider | None = None) -> None:
    """Check the lines of a transcript."""
    decider = decider or Observer()
    for line in transcript.strip().splitlines():
        seen, _, expected = re.sub(r"\b(R\d+p?)@(-?\d+)/", _at_wall, line.partition("#")[0]).partition("->")
        time, *words = seen.split()
        if time == "fallen":
            assert isinstance(decider, Observer)
            decider.fall(*words)
            continue
        told = " ".join(word for word in words if not _is_change(word))
        changes = {name: _value(value) for name, value in (word.split("=", 1) for word in words if _is_change(word))}
        for now in _times(time):
            _check(decider.see(now, told, **changes), expected, f"at {now} of {line.strip()!r}")


def _at_wall(record: re.Match[str]) -> str:
    return f"{record[1]}@{WALL + int(record[2])}/"


def _is_change(word: str) -> bool:
    return word.partition("=")[0].isidentifier() and "=" in word


def _value(text: str) -> object:
    return text if re.match("[a-z]", text) else literal_eval(text)


def _times(text: str) -> Iterator[float]:
    first, _, rest = text.partition("..")
    last, _, step = rest.partition("/")
    now = float(first)
    yield now
    while rest and now + float(step) <= float(last) + 1e-9:
        now += float(step)
        yield now


def _check(decision: Any, expected: str, where: str) -> None:
    told, *facts = (" ".join(part.split()) for part in expected.split(";"))
    short = shown(decision) if isinstance(decision, Decision) else str(decision)
    got = f"{short} ({_sentence(decision)}) {where}"
    match told.split():
        case []:
            pass
        case ["no", "write"]:
            assert decision.write is None, got
        case ["not", reason]:
            assert decision.reason.name != reason, got
        case [reason] if reason.isupper():
            assert decision.reason.name == reason, got
        case [write]:
            assert written(decision.write) == write, got
        case _:
            assert short == told, got
    for fact in facts:
        name, _, value = fact.partition(" ")
        assert FACTS[name](decision, value), f"{fact}: {got}"
