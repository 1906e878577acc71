"""``floatingip observe``: keep the addresses on live nodes until SIGTERM (the observer)."""

from __future__ import annotations

import argparse
import os

from floatingip.commands import arguments, starting
from floatingip.edges import configmap


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says where the settings are."""
    arguments.add_settings(parser)


def run(options: argparse.Namespace) -> int:
    """Observe; return the exit code.  Raises FloatingIPError."""
    return starting.run("observe", configmap.load(os.environ, options.settings), options.settings)
