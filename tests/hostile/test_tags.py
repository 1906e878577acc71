"""Tags on our interfaces, as strangers may write them: what a ration, an order and a name make of them."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floatingip.core import timing
from floatingip.core.decision import order, ration
from tests.hostile.strategies import several, texts

ATTACHMENT, WALL = "eni-attach-0123456789abcdef0", 1_764_000_000.0
times = st.one_of(st.integers(0, 10**11 - 1), st.integers(int(WALL) - 5000, int(WALL) + 5000))
records = st.builds(
    ration.Record, st.from_regex(r"R[0-9]{1,2}", fullmatch=True), times, st.sampled_from([ATTACHMENT[-9:], "a1", "b2"])
)
values = st.one_of(
    texts, st.lists(st.one_of(records.map(lambda move: ration.render((move,))), texts), max_size=12).map(" ".join)
)
rules = st.sampled_from(["R3", "R4", "R6", "R7"])


@several(2)
@given(st.lists(records, max_size=12).map(tuple))
def test_what_was_recorded_is_read_again(moves: tuple[ration.Record, ...]) -> None:
    """The last ones, in a value that a tag has room for."""
    value = ration.render(moves)
    assert ration.parse(value) == moves[-ration.KEPT :]
    assert len(value) <= 256


@several(3)
@given(values, rules, st.floats(0, 1e10), st.one_of(st.just(-inf), st.floats(0, 1e10)))
def test_whatever_is_recorded_a_move_waits_for_an_hour_at_most(
    value: str, rule: str, wall: float, since: float
) -> None:
    """And what is recorded beside it makes it no shorter a tag."""
    wait = ration.wait(value, wall, ATTACHMENT, since)
    assert 0 <= wait <= timing.RATION_LONGEST_WAIT
    written = ration.record(value, rule, wall, ATTACHMENT)
    assert ration.recorded(written, ATTACHMENT)
    assert len(written) <= 256
    assert set(ration.parse(ration.merged((value, written)))) <= {*ration.parse(value), *ration.parse(written)}


@several(3)
@given(values)
def test_whatever_is_recorded_a_move_may_be_made_some_time(value: str) -> None:
    """Nothing waits for a time that does not come: by a record that is later than now by an hour, two hours at most."""
    longest = timing.RATION_LONGEST_WAIT
    latest = max((move.wall for move in ration.parse(value) if move.wall <= WALL + longest), default=0)
    soon = [move for move in ration.parse(value) if WALL + longest < move.wall <= WALL + 3 * longest]
    assert latest <= WALL + longest
    assert soon or ration.wait(value, WALL + 2 * longest, ATTACHMENT) == 0


@several(3)
@given(
    st.one_of(texts, st.builds("{}>{}@{}".format, texts, st.sampled_from(["*", "i-0a", "i-0b"]), times)),
    st.floats(0, 1e11),
)
def test_an_order_is_of_this_attachment_and_not_over(value: str, wall: float) -> None:
    """Whatever else stands there orders nothing."""
    found = order.parse(value, ATTACHMENT, wall)
    if found is not None:
        assert (
            order.render(ATTACHMENT, found.to, found.deadline) == value
            or int(value.rpartition("@")[2]) == found.deadline
        )
        assert found.deadline >= wall
    named = order.successor(value, wall)
    assert named in ("", "i-0a", "i-0b") or named in value


@pytest.mark.parametrize("rule", ["R3", "R6"])
def test_moves_of_a_clock_that_is_years_ahead_hold_nothing_up(rule: str) -> None:
    """They were held up until the year of those records."""
    value = " ".join(f"{rule}@{99_999_999_990 + number}/a{number}" for number in range(8))
    assert ration.wait(value, WALL, ATTACHMENT) == 0
    assert not ration.is_rationed(value, "R3", WALL, ATTACHMENT)
    assert ration.last_at(value, ATTACHMENT, wall=WALL) == -inf
