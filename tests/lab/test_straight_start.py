"""An observer finds out at its start whether NAT can be kept off its connections, and says so."""

from contextlib import closing
from pathlib import Path

import pytest

from lab.run.machine import Machine
from lab.run.region import Region
from tests.lab.test_process import Container, _machine  # noqa: F401

pytest_plugins = ["tests.lab.one_worker"]

WITHOUT_THE_MODULE = """
import sys
from floatingip.cli import main
from floatingip.edges import straight
straight._NEW_CONNECTION = 15 << 8  # of a subsystem that no kernel has
sys.exit(main())
"""


@pytest.mark.parametrize("loads", [True, False], ids=["loads", "fails"])
def test_an_observer_that_cannot_tell_conntrack_warns_of_it(
    region: Region, machine: Machine, tmp_path: Path, loads: bool
) -> None:
    """Before it has asked anybody; and it goes on."""
    settings = tmp_path / "observe.yaml"
    settings.write_text("port: 20998\n")
    program = ("-m", "floatingip") if loads else ("-c", WITHOUT_THE_MODULE)
    with closing(Container(region, machine, "observe", settings, program)) as container:
        container.says("event=services")
        assert ("conntrack cannot be told (Invalid argument)" in container.output) != loads
        assert container.ends_by_sigterm() == 0
        assert "event=nat" not in container.output.partition("event=services")[2]
