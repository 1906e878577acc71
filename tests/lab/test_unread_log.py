"""An observer as PID 1 of a container whose log nobody reads any more."""

import os
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from urllib.request import urlopen

from lab.run.region import Region
from tests.lab.endpoint import soon
from tests.lab.test_process import Container

pytest_plugins = ["tests.lab.one_worker"]


def test_an_observer_whose_log_nobody_reads_serves_says_so_and_ends(region: Region, tmp_path: Path) -> None:
    """As on a node whose container runtime has died; its standard output was full before it began."""
    [machine] = region.machines.values()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    os.set_blocking(writer, True)
    settings = tmp_path / "unread.yaml"
    settings.write_text("port: 20998\n")
    ready = f"http://{machine.worker.address}:20998/readyz"

    def says() -> str:
        with suppress(OSError), machine.worker.namespace.call(partial(urlopen, ready, timeout=2)) as answer:
            return str(answer.read().decode())
        return ""

    with closing(Container(region, machine, "observe", settings, stdout=writer)) as container:
        soon(lambda: says().startswith("ok; ") and "log is not kept: nobody reads it" in says(), 30)
        assert container.ends_by_sigterm() == 0
    for end in (reader, writer):
        os.close(end)
