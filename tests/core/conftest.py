"""Fixtures of the core's tests: observers on loopback, and settings as they are loaded."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from floatingip.core.errors import ConfigurationError
from floatingip.core.settings import Settings
from floatingip.core.word import Status
from floatingip.edges.configmap import load
from tests.core.loading import Load, Overfull, Problems
from tests.core.observers import HOLDER, SOUND, Observer, Start, free_port


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


@pytest.fixture(name="loaded")
def _loaded(tmp_path: Path) -> Load:
    """Load settings from a document, with a good address unless another one is given."""

    def loaded(document: str = "", *, address: str | None = "10.0.0.100") -> Settings:
        path = tmp_path / "settings.yaml"
        path.write_text(document, encoding="utf-8")
        return load({} if address is None else {"FLOATING_IP": address}, path)

    return loaded


@pytest.fixture(name="problems")
def _problems(loaded: Load) -> Problems:
    """The lines of the one error that a document raises."""

    def problems(document: str = "", *, address: str | None = "10.0.0.100") -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            loaded(document, address=address)
        assert caught.value.exit_code == 2
        return str(caught.value).splitlines()

    return problems


@pytest.fixture(name="overfull")
def _overfull(loaded: Load, problems: Problems) -> Overfull:
    """The one problem of a document that has room for so many addresses, and one more; so many are fine."""

    def overfull(document: str, room: int) -> str:
        addresses = [f"10.0.0.{number}" for number in range(20, 20 + room + 1)]
        assert len(loaded(document, address=",".join(addresses[:-1])).floating_ips) == room
        (line,) = problems(document, address=",".join(addresses))
        return line

    return overfull
