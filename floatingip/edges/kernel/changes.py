"""
Notice changes in the kernel: of links, addresses, routes, rules and their settings, and of nft's tables.

An event only tells that something has changed, not what; but for nft's tables it tells which table.
"""

from __future__ import annotations

import contextlib
import errno
import re
import select
import socket
import time
from collections.abc import Callable, Collection, Iterator

from floatingip.edges.kernel.mark_table import PREFIX
from floatingip.edges.kernel.netlink import NETFILTER

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NFNLGRP_NFTABLES = 7
# linux/rtnetlink.h: link; IPv4 address, route, rule; IPv6 address, route, rule; IPv4 and IPv6 netconf (rp_filter and
# forwarding).
_ROUTE_GROUPS = (1, 5, 7, 8, 9, 11, 19, 24, 25)
_OUR_TABLES = re.compile(PREFIX.encode() + rb"[0-9a-f]+")

WATCH_AGAIN = 1.0
"""Seconds until listening is tried again after it failed."""

WATCH_REST = 0.02
"""Seconds for which events are gathered, so that a storm of them wakes the listener at most fifty times a second."""


def listen() -> tuple[socket.socket, socket.socket]:
    """Two sockets that hear of changes: by rtnetlink, and of nft's tables.  Raises OSError."""
    with contextlib.ExitStack() as opened:
        links = opened.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
        links.bind((0, sum(1 << (group - 1) for group in _ROUTE_GROUPS)))
        tables = opened.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER))
        tables.bind((0, 0))
        tables.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        opened.pop_all()
    return links, tables


def follow(
    sockets: tuple[socket.socket, socket.socket],
    touched: Callable[[Collection[str] | None], None],
    wake: Callable[[], None],
) -> None:
    """For each batch of events call ``touched`` with the names of our nft tables that have changed (None: perhaps any),
    and then ``wake``.

    Never returns: sockets that fail are replaced by new ones.
    """
    while True:
        with contextlib.suppress(OSError):
            _pass_on(sockets, touched, wake)
        for failed in sockets:
            failed.close()
        sockets = _listen_again()
        touched(None)
        wake()


def _listen_again() -> tuple[socket.socket, socket.socket]:
    while True:
        time.sleep(WATCH_AGAIN)
        with contextlib.suppress(OSError):  # A node may be short of file descriptors for a while.
            return listen()


def _pass_on(
    sockets: tuple[socket.socket, socket.socket],
    touched: Callable[[Collection[str] | None], None],
    wake: Callable[[], None],
) -> None:
    links, tables = sockets
    poll = select.poll()
    for watched in sockets:
        poll.register(watched, select.POLLIN)
    while True:
        poll.poll()
        # It only matters that there are events, so they may be cut short.
        for _ in _read_events(links, 1):
            continue
        for said in _read_events(tables, 1 << 16):
            touched(None if said is None else {name.decode() for name in _OUR_TABLES.findall(said)})
        wake()
        time.sleep(WATCH_REST)


def _read_events(watched: socket.socket, size: int) -> Iterator[bytes | None]:
    """The events that are waiting, up to a bound; None for events that were lost or cut short."""
    for _ in range(1000):
        try:
            said, _, flags, _ = watched.recvmsg(size, 0, socket.MSG_DONTWAIT)
            yield None if flags & socket.MSG_TRUNC else said
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield None
