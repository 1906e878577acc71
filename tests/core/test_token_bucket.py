"""What may be done so often on average, and for a while at once."""

from __future__ import annotations

from floatingip.core.token_bucket import TokenBucket


def test_a_new_bucket_is_full_and_what_it_holds_may_be_taken_at_once() -> None:
    """Whatever the clock says: the monotonic one may have begun a second ago."""
    bucket = TokenBucket(4, 0.5)
    assert bucket.due(1) < 0
    for left in (3, 2, 1, 0):
        bucket = bucket.take(1, now=9)
        assert bucket.held(9) == left
    assert bucket.due(1) == 9 + 2


def test_what_is_taken_beyond_what_there_is_delays_the_next() -> None:
    """Ten too many, at one in two seconds."""
    bucket = TokenBucket(4, 0.5).take(14, now=9)
    assert bucket.due(1) == 9 + 22
    assert bucket.held(9 + 22) == 1


def test_time_fills_it_no_further_than_it_is_large() -> None:
    """A long calm allows no more at once than a start does."""
    assert TokenBucket(4, 0.5).take(4, now=9).held(100_000) == 4
