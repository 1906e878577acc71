"""A node that has no room for another thread for a while: what could not begin is begun again once there is room."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import IPv4Address

import pytest

from floatingip.core.errors import NoCredentials
from floatingip.core.peer import Sight
from floatingip.edges.ec2 import credentials
from floatingip.edges.ec2.credentials import Keeper
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
