"""The ration (R12): what the ENI's tag counts, how long the next move waits, and what a stranger may write there."""

import pytest

from floatingip.core import timing
from floatingip.core.decision.ration import KEPT, PLANNED, Record, is_rationed, parse, record, recorded, render, wait

NOW = 1_764_000_000
TAG_LIMIT = 256
"""Characters of a tag's value, by EC2's user guide."""


def attachment(number: int) -> str:
    """An attachment's id as EC2 makes them."""
    return f"eni-attach-0{number:016x}"


def tag(*moves: tuple[str, float]) -> str:
    """A tag that records moves (rule, seconds before NOW) away from attachments 0, 1, ..."""
    value = ""
    for number, (rule, ago) in enumerate(moves):
        value = record(value, rule, NOW - ago, attachment(number))
    return value


NEW = attachment(1000)


def test_what_is_recorded_is_read_back() -> None:
    """Rule, time and the attachment that was left."""
    value = record("", "R4", NOW + 0.9, attachment(7))
    assert parse(value) == (Record("R4", NOW, attachment(7)[-9:]),)
    assert recorded(value, attachment(7))
    assert not recorded(value, attachment(8))


def test_parsing_and_rendering_are_inverse() -> None:
    """Whoever reads the tag and writes it back changes nothing."""
    value = tag(("R3", 30), ("R5", 20), (PLANNED, 15), ("R6", 10))
    assert render(parse(value)) == value


def test_moves_are_kept_oldest_first_and_the_oldest_are_dropped() -> None:
    """The tag remembers a fixed number of moves."""
    value = tag(*(("R4", 100 - number) for number in range(KEPT + 3)))
    moves = parse(value)
    assert len(moves) == KEPT
    assert [move.wall for move in moves] == sorted(move.wall for move in moves)
    assert recorded(value, attachment(KEPT + 2))
    assert not recorded(value, attachment(2))


def test_planned_moves_push_no_others_out_of_the_tag() -> None:
    """A rotation of all nodes makes no service look well that answers nobody; what is left of it are the last moves."""
    planned = KEPT + 2
    value = tag(("R4", 50), *((PLANNED, 40 - number) for number in range(planned)))
    assert wait(value, NOW, NEW) == 10
    assert len(parse(value)) == KEPT
    assert recorded(value, attachment(planned))


def test_a_planned_move_is_recorded_though_the_tag_is_full_of_others() -> None:
    """Whoever has made it writes that until it is there."""
    value = tag(*(("R4", 100 - number) for number in range(KEPT)), (PLANNED, 1))
    assert recorded(value, attachment(KEPT))
    assert not recorded(value, attachment(0))


@pytest.mark.parametrize(
    "foreign", ["", "hello", "R4", "R4@", "R4@soon/x", "R4@12", "@/", "R4@-5/x", "  \n ", "=;,@@//"]
)
def test_foreign_text_in_the_tag_is_passed_over(foreign: str) -> None:
    """A person's note in our tag neither fails nor counts; moves beside it do."""
    assert parse(foreign) == ()
    assert wait(foreign, NOW, NEW) == 0
    assert len(parse(record(foreign, "R4", NOW, NEW))) == 1
    assert wait(f"{foreign} {tag(('R4', 0))} {foreign}", NOW, NEW) == timing.RATION_FIRST_WAIT


def test_a_full_tag_fits_what_ec2_takes() -> None:
    """Eight moves by the longest rule name."""
    value = tag(*(("R12p", 100 - number) for number in range(KEPT + 1)))
    assert len(value) <= TAG_LIMIT


@pytest.mark.parametrize("foreign", ["x" * 240 + "@1/y", "R4@1/" + "y" * 240, "R4@" + "1" * 240 + "/y"])
def test_foreign_text_that_looks_like_a_move_cannot_overfill_the_tag(foreign: str) -> None:
    """EC2 would refuse the tag, and with it every further rationed move."""
    assert len(record(foreign, "R4", NOW, NEW)) <= TAG_LIMIT


@pytest.mark.parametrize("rule", ["R4", "R5", "R6"])
def test_moves_from_a_holder_that_is_heard_or_never_answered_are_always_rationed(rule: str) -> None:
    """R4 to R6 can be caused by a misconfiguration."""
    assert is_rationed("", rule, NOW, NEW)


@pytest.mark.parametrize(
    ("moves", "rationed"),
    [
        ((), False),
        ((("R3", 100),), False),
        ((("R3", 500), ("R3", 100)), True),
        ((("R3", 601), ("R3", 100)), False),
        ((("R3", 600), ("R3", 100)), False),
        ((("R3", 599), ("R3", 100)), True),
        ((("R5", 500), ("R3", 100)), False),
        ((("R3", 900), ("R3", 800), ("R3", 700)), False),
    ],
)
def test_a_takeover_from_a_silent_holder_is_rationed_from_the_third_within_ten_minutes(
    moves: tuple[tuple[str, float], ...], *, rationed: bool
) -> None:
    """Two power cuts in ten minutes are bad luck."""
    assert is_rationed(tag(*moves), "R3", NOW, NEW) is rationed


def test_the_move_under_way_does_not_ration_itself() -> None:
    """It is recorded before it is made."""
    value = record(tag(("R3", 100)), "R3", NOW, NEW)
    assert not is_rationed(value, "R3", NOW, NEW)
    assert wait(record("", "R4", NOW, NEW), NOW, NEW) == 0


@pytest.mark.parametrize(
    ("moves", "seconds"),
    [
        ((), 0),
        ((("R4", 0),), 60),
        ((("R4", 59),), 1),
        ((("R4", 60),), 0),
        ((("R4", 300), ("R6", 10)), 110),
        ((("R4", 900), ("R4", 300), ("R5", 40)), 200),
        ((("R3", 10),), 0),
        ((("R3", 20), ("R3", 10)), 0),
        ((("R3", 30), ("R3", 20), ("R3", 10)), 50),
        ((("R3", 40), ("R3", 30), ("R3", 20), ("R3", 10)), 110),
        ((("R4", 300), ("R3", 10)), 50),
        (((PLANNED, 40), (PLANNED, 0)), 0),
        ((("R4", 50), (PLANNED, 0)), 10),
    ],
)
def test_each_rationed_move_doubles_the_wait_for_the_next(moves: tuple[tuple[str, float], ...], seconds: float) -> None:
    """From the last move on: 60 s, 120 s, 240 s; the first two from silent holders cost nothing."""
    assert wait(tag(*moves), NOW, NEW) == seconds


def test_a_ration_ends() -> None:
    """After an hour: a deployment that is mended after a bad week is not locked for another one.

    A move that seems to lie in the future, by a clock that was fast, holds the next one up for its pause and no longer.
    """
    value = tag(*(("R4", 0),) * KEPT)
    assert wait(value, NOW, NEW) == timing.RATION_LONGEST_WAIT
    assert wait(tag(("R4", -86400)), NOW, NEW) <= timing.RATION_FIRST_WAIT
