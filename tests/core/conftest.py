"""Fixtures of the core's tests: settings as they are loaded."""

from pathlib import Path

import pytest

from floatingip.core.errors import ConfigurationError
from floatingip.core.settings import Settings
from floatingip.edges.configmap import load
from tests.core.loading import Load, Overfull, Problems


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
