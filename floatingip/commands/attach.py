"""``floatingip attach``, the init container: make sure that a node has the addresses, this one or another, and end."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import threading

from floatingip.commands import arguments, starting
from floatingip.commands.complaint import complain
from floatingip.core.errors import ConfigurationError, FloatingIPError
from floatingip.core.settings import Settings
from floatingip.edges import configmap


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says where the settings are."""
    arguments.add_settings(parser)


def run(options: argparse.Namespace) -> int:
    """Attach; return the exit code.  If that fails, say why, and what the doctor finds.  Raises ConfigurationError."""
    settings = configmap.load(os.environ, options.settings)
    try:
        return starting.run("attach", settings, options.settings)
    except FloatingIPError as error:
        # Said before the doctor is asked: that takes some seconds, and the container may be ended meanwhile.
        complain("attach", error)
        code = error.exit_code
        signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(code))
        threading.excepthook = threading.__excepthook__
        _tell_what_fails(settings)
        return code


def _tell_what_fails(settings: Settings) -> None:
    """Say what the doctor finds wrong with all that ``attach`` depends on."""
    # Imported late: an `attach` that works need not wait for the doctor to load.
    from floatingip.commands.doctor.examine import FOR_ATTACH, FOR_ATTACH_WITHIN, examine  # noqa: PLC0415
    from floatingip.commands.doctor.facts import Facts  # noqa: PLC0415
    from floatingip.commands.doctor.finding import failed  # noqa: PLC0415
    from floatingip.edges.ec2.cloud import check_environment  # noqa: PLC0415

    with contextlib.suppress(ConfigurationError):  # `attach` itself has said that
        check_environment()
        for finding in failed(examine(Facts(settings, os.environ, None), FOR_ATTACH, within=FOR_ATTACH_WITHIN)):
            complain("attach", f"doctor: {finding.line()}")
