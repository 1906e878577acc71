"""Fixtures of the edges' tests: observers on loopback."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from floatingip.core.word import Status
from tests.edges.observers import HOLDER, SOUND, Observer, Start, free_port


@pytest.fixture(name="port")
def _port() -> int:
    return free_port()


@pytest.fixture(name="start")
def _start(port: int) -> Iterator[Start]:
    """Start observers; they are stopped at the end."""
    with ExitStack() as ended:

        def start(address: str = HOLDER, status: Status = SOUND, **details: Any) -> Observer:
            observer = Observer(address, port, status, **details)
            ended.callback(observer.server.stop)
            return observer

        yield start
