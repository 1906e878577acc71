"""The overview as text: what stands in it, and that it fits."""

from dataclasses import replace

import pytest

from floatingip.core.overview import Ec2View, Overview, overview
from floatingip.core.report import OrderReport
from floatingip.core.status import of
from floatingip.core.table import lines
from floatingip.core.wording import clock, milliseconds, printable, span
from tests.core.snapshots import NOW, TARGET, WALL, WATCHED, B, C, holder, standby

REASON = f"{C} has no free ENI slot; keep one free (the VPC CNI's MAX_ENI)"
THIRD = replace(of(standby(replace(WATCHED, not_ready=REASON)), NOW), instance=C, node="worker-c")


def shown(**more: object) -> Overview:
    """Of three nodes, one of which could not take over."""
    order, rationed_until = OrderReport("*", WALL + 60.0), WALL + 90.0
    asked = replace(WATCHED, order=order, rationed_until_wall=rationed_until, asked_at=NOW - 15.0)
    ordered = of(standby(asked), NOW)
    reports = (of(holder(leaving="spot: at noon"), NOW), ordered, THIRD)
    return overview(WALL, "prod", (TARGET,), reports, **more)  # type: ignore[arg-type]  # the test names parameters


TEXT = "\n".join(lines(shown()))


@pytest.mark.parametrize(
    "said",
    [
        "prod: degraded, carry: eni, 2025-11-28 10:00:00 UTC",
        "wrong: 10.0.0.100: its holder is leaving: spot: at noon",
        "ADDRESS     ROLE     NODE      INSTANCE  SINCE       HEALTH  RTT     CAN TAKE OVER",
        "10.0.0.100  holder   worker-a  i-0a      1 min 52 s  up      0.4 ms  -",
        "10.0.0.100  standby  worker-b  i-0b      -           up      0.4 ms  yes",
        f"10.0.0.100  standby  worker-c  i-0c      -           up      0.4 ms  NO: {REASON}",
        "  wrong       its holder is leaving: spot: at noon",
        "  state       worker-b: worker-a (i-0a) holds the address, and it answers",
        "  NodePorts   30007 answers",
        "  last move   2 min ago (2025-11-28 09:58:00 UTC), R3, from worker-b to worker-a, 8.0 s: detect 1.2,"
        " detach 2.5, attach 4.2",
        "  moves       1 in the last ten minutes; the next rationed one not before 1 min 30 s from now",
        "  EC2         answered 15 s ago",
        "  order       to be handed over to any standby, for 1 min more",
        "worker-a (i-0a): is leaving: spot: at noon",
    ],
)
def test_it_answers_what_is_asked_at_night(said: str) -> None:
    """In lines that can be searched."""
    assert said in TEXT.splitlines(), TEXT


def test_the_worst_stands_above_the_table_and_what_was_not_learned_at_the_end() -> None:
    """The line after the verdict is empty where all is well."""
    assert TEXT.splitlines()[1] == "wrong: 10.0.0.100: its holder is leaving: spot: at noon"
    well = overview(WALL, "prod", (TARGET,), (of(holder(), NOW), of(standby(), NOW)))
    assert list(lines(well))[1] == ""
    text = list(lines(shown(silent={"i-0d": "no connection"}, ec2=Ec2View("no answer within 3 s"))))
    assert "i-0d: told nothing: no connection" in text
    assert text[-1] == "not learned: what EC2 says now: no answer within 3 s"


def test_since_when_ec2_has_not_answered_an_observer_is_told() -> None:
    """By its last answer, which others do not make up for."""
    silent = of(standby(unanswered="no answer", answered_at=NOW - 600.0), NOW)
    text = list(lines(overview(WALL, "prod", (TARGET,), (of(holder(), NOW), silent))))
    assert "worker-b (i-0b): EC2 does not answer it as it should (its last answer is 10 min old): no answer" in text


@pytest.mark.parametrize("width", [200, 120, 100, 80, 60, 40, 20])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    """And nothing is lost by that: what is long goes on below."""
    text = list(lines(shown(), width))
    assert max(map(len, text)) <= width
    joined = "".join("".join(text).split())
    assert "".join(REASON.split())[:15] in joined
    assert "worker-c" in joined


def test_what_others_say_cannot_command_a_terminal() -> None:
    """A peer's reason, or a tag, may have escape sequences and newlines in it."""
    evil = replace(THIRD, node="w\x1b[2J\n\u202e", leaving="\x1b]0;owned\x07")
    text = "\n".join(lines(overview(WALL, "pr\x1bod", (TARGET,), (evil,), {B: "\x9b31m"}), 80))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "w�[2J��" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (0.9, "0 s"), (41, "41 s"), (60, "1 min"), (192, "3 min 12 s"), (3600, "1 h"),
        (3 * 86400 + 7300, "3 d 2 h"), (-5, "0 s"),
    ],
)  # fmt: skip
def test_a_span_is_told_in_two_units(seconds: float, words: str) -> None:
    """More would be noise."""
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("wall", "words"),
    [
        (0, "1970-01-01 00:00:00 UTC"), (951_782_399, "2000-02-28 23:59:59 UTC"),
        (951_782_400, "2000-02-29 00:00:00 UTC"), (951_868_800, "2000-03-01 00:00:00 UTC"),
        (1_798_761_599, "2026-12-31 23:59:59 UTC"), (4_107_542_400, "2100-03-01 00:00:00 UTC"),
    ],
)  # fmt: skip
def test_the_calendar_is_the_one_that_everybody_has(wall: float, words: str) -> None:
    assert clock(wall) == words


def test_a_round_trip_is_told_in_milliseconds() -> None:
    """Shorter where it is long."""
    assert (milliseconds(0.00042), milliseconds(0.0123)) == ("0.4 ms", "12 ms")


def test_what_cannot_be_seen_is_not_printed() -> None:
    """And what can be is left as it is."""
    assert printable("a … ü\t\u200b") == "a … ü��"


def test_what_only_observers_see_is_not_known_without_them() -> None:
    """A handover of a minute ago leaves nothing at EC2: there is none that nobody saw, and not none."""
    text = "\n".join(lines(overview(WALL, "prod", (TARGET,), (), ec2=Ec2View())))
    assert "  last move   not known: no observer told anything" in text
    assert "  moves       at least 0 in the last ten minutes; " in text
    assert "since it started" not in text
