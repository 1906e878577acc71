"""An observer whose own log nobody sees: its note says so while that lasts, and the log once somebody does."""

from floatingip.agent.events import LogTroubled
from floatingip.core import timing
from tests.core.agents import Node


def test_a_log_that_nobody_sees_is_told_elsewhere_until_somebody_does() -> None:
    """It is no reason not to be ready; and what is missing stands in the log itself."""
    node = Node()
    node.hold()
    node.handle(LogTroubled("nobody reads it", 0))
    node.handle(after=timing.CALM_TICK)
    assert "this observer's log is not kept: nobody reads it; is its" in node.published.note
    assert node.published.not_ready() == ""
    assert "event=log " not in node.told.log
    node.handle(LogTroubled("", 40))
    node.handle(after=timing.CALM_TICK)
    assert "log" not in node.published.note
    node.handle(LogTroubled("No space left on device", 41), LogTroubled("", 45))
    told = 'level=warning event=log msg="the log was not kept for a while; {} lines are lost"'
    assert [node.told.log.count(told.format(lost)) for lost in (40, 5)] == [1, 1]


def test_a_reader_that_was_only_slow_is_no_warning() -> None:
    """Nothing is missing then."""
    node = Node()
    node.handle(LogTroubled("nobody reads it", 0), LogTroubled("", 0))
    node.handle(after=timing.CALM_TICK)
    assert "event=log " not in node.told.log
