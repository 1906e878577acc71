"""``floatingip resume``: end a pause now."""

from __future__ import annotations

import argparse
import os

from floatingip.commands import arguments, deployment, pause
from floatingip.commands.ending import as_by_ctrl_c
from floatingip.edges import configmap


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say whose addresses."""
    arguments.add_settings(parser)
    arguments.add_place(parser)


def run(options: argparse.Namespace) -> int:
    """End the pause; return the exit code.  Raises FloatingIPError."""
    settings = configmap.load(os.environ, options.settings)
    ours = deployment.find(settings, options)
    with as_by_ctrl_c():
        was_paused = pause.end(ours, settings.floating_ips)
    addresses = ", ".join(map(str, settings.floating_ips))
    print(f"{addresses}: {'moves again when a holder fails' if was_paused else 'not paused'}")
    return 0
