"""A node that has no room for another thread for a while: what could not begin is begun again once there is room."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import IPv4Address

import pytest

from floatingip.agent.events import Event, Heard, NewsTold
from floatingip.core.errors import NoCredentials
from floatingip.core.news import News, Role
from floatingip.core.peer import Sight
from floatingip.edges import background
from floatingip.edges.ec2 import credentials
from floatingip.edges.ec2.credentials import Keeper
from floatingip.runtime.peers import Askers
from floatingip.runtime.reporting import Reporter
from floatingip.runtime.sight import Sights
from tests.edges.test_asking import Found
from tests.waiting import until

Full = Callable[[], AbstractContextManager[None]]
GOOD = 3600.0


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Full:
    """While it lasts no thread can be started."""

    @contextmanager
    def last() -> Iterator[None]:
        def refuse(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            yield

    return last


def test_credentials_are_looked_for_again(full: Full, monkeypatch: pytest.MonkeyPatch) -> None:
    """An observer would ask EC2 nothing any more until it is restarted."""
    monkeypatch.setattr(credentials, "AGAIN_AFTER", 0.0)
    keeper = Keeper(lambda: Found("keys", GOOD))
    with full(), pytest.raises(NoCredentials, match="not looked for: can't start new thread"):
        keeper.keys()
    assert keeper.keys() == "keys"


def test_credentials_that_are_good_are_used_meanwhile(full: Full) -> None:
    """They need not be renewed at once."""
    keeper = Keeper(lambda: Found("new", GOOD), Found("old", 60.0))
    with full():
        assert keeper.keys() == "old"


def test_whether_an_address_reaches_an_observer_is_checked_again(full: Full) -> None:
    """The asker would be told for ever that this was never tried, and the holder's word would vouch for nothing."""
    address, sights = IPv4Address("127.0.0.1"), Sights(9)
    with full():
        assert sights.of(IPv4Address("127.0.0.9"), address) is Sight.UNTRIED
    until(lambda: sights.of(IPv4Address("127.0.0.9"), address) is Sight.UNSEEN, 10.0)


def test_what_gets_no_thread_is_done_one_after_the_other(full: Full) -> None:
    """A write that was never answered would let its address be moved no more, and the deciding thread would end."""
    done: list[str] = []
    spare = background.Spare()
    with full():
        for what in "abc":
            spare.begin("write", functools.partial(done.append, what))
        until(lambda: len(done) == 3)
    assert done == ["a", "b", "c"]


def test_what_is_asked_beside_is_asked_at_once(full: Full) -> None:
    """A look asks several questions beside each other."""

    def fail() -> None:
        raise NoCredentials("none")

    with full():
        assert background.begin("look-beside", lambda: 7).result(0) == 7
        with pytest.raises(NoCredentials):
            background.begin("look-beside", fail).result(0)


def test_another_observer_is_asked_the_next_time(full: Full) -> None:
    """All that are asked go on being asked."""
    heard: list[Event] = []
    askers = Askers("i-b", HERE, 9, heard.append)
    with full():
        askers.follow({"i-a": HERE}, frozenset())
    assert heard == []
    askers.follow({"i-a": HERE}, frozenset())
    until(lambda: [each.instance_id for each in heard if isinstance(each, Heard)][:1] == ["i-a"])
    askers.stop()


def test_news_are_told_with_the_next_ones(full: Full) -> None:
    """They wait."""
    told: list[NewsTold] = []
    reporter = Reporter(Accepting(), told.append)
    with full():
        reporter.tell(Role.HOLDER)
    reporter.tell(Role.STANDBY)
    until(lambda: len(told) == 1)


HERE = IPv4Address("127.0.0.1")


class Accepting:
    """`ports.Board` that takes all news."""

    def put_up(self, news: News) -> None:
        pass
