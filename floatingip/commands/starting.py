"""Start the agent of this node, for ``attach`` and ``observe``: first its log, then what takes long to load."""

from __future__ import annotations

import sys
from pathlib import Path

from floatingip import __version__
from floatingip.commands.ending import LOG_ENDS_WITHIN
from floatingip.core.settings import Settings
from floatingip.edges.outlet import Outlet
from floatingip.edges.telemetry import Log


def run(command: str, settings: Settings, path: Path) -> int:
    """Run the agent as ``command``; return the exit code.  Raises FloatingIPError.

    ``path`` is where the settings are; they may change meanwhile.
    """
    outlet = Outlet(sys.stdout.fileno())
    try:
        log = Log(outlet, settings.log)
        log.info("settings", command=command, version=__version__, **settings.effective())
        # Imported late: that takes most of the start-up time, and whoever waits can read the settings meanwhile.
        from floatingip.commands import process  # noqa: PLC0415

        return process.run(command, settings, path, log, outlet)
    finally:
        outlet.end(LOG_ENDS_WITHIN)
