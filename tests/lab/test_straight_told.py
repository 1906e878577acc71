"""What becomes of it where conntrack cannot be told of a connection: it is said once, and tried again."""

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from floatingip.edges import clock, straight
from floatingip.edges.kernel.inspection import conntrack
from floatingip.edges.straight import AGAIN_AFTER, go_straight
from lab.network.netns import Namespace
from tests.lab.probing import HOLDER

PORT = 9807


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just begun."""
    monkeypatch.setattr(straight, "_obstacle", straight._Obstacle())


@pytest.fixture(name="later")
def _later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many seconds have passed: the last of these."""
    passed = [0.0]
    monkeypatch.setattr(clock, "now", lambda: 1000 + passed[-1])
    return passed


@contextmanager
def no_more_files() -> Iterator[None]:
    """None can be opened by this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(1)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def is_known(near: Namespace, within: float = 2.0) -> bool:
    """Whether conntrack comes to know of a connection before it begins."""

    def run() -> bool:
        with closing(socket.socket()) as plain:
            before, _ = conntrack()
            go_straight(plain, HOLDER, PORT, within)
            return conntrack()[0] > before

    return near.call(run)


def test_what_keeps_conntrack_from_being_told_is_said_once() -> None:
    """Otherwise nobody knows that a Service may answer for a node; and a line each time would fill the log."""
    with no_more_files():
        straight.prepare()
        straight.prepare()
    assert [straight.obstacle(), straight.obstacle()] == [os.strerror(errno.EMFILE), ""]


def test_where_it_can_be_told_nothing_is_said(near: Namespace, holder: Namespace) -> None:
    """Also of the process that begins anew beside another one, which has told of the same."""
    near.call(straight.prepare)
    near.call(straight.prepare)
    assert is_known(near)
    assert straight.obstacle() == ""


def test_a_kernel_that_did_not_find_its_module_is_asked_again(
    near: Namespace, holder: Namespace, later: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been short of memory, or booting."""
    with monkeypatch.context() as patch:
        patch.setattr(straight, "_NEW_CONNECTION", 15 << 8)  # of a subsystem that no kernel has
        near.call(straight.prepare)
    assert straight.obstacle() == os.strerror(errno.EINVAL)
    later.append(AGAIN_AFTER - 1)
    assert not is_known(near)
    later.append(AGAIN_AFTER)
    assert is_known(near)


def test_who_connects_does_not_wait_for_a_silent_kernel_each_time(
    near: Namespace, holder: Namespace, later: list[float]
) -> None:
    """What it asks has its own budget, and others are probed by the same thread."""
    is_known(near, within=0.0)
    assert "no answer within 0 s" in straight.obstacle()
    later.append(AGAIN_AFTER - 1)
    assert not is_known(near)
