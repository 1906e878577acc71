"""``floatingip doctor``: run all checks, and say what they found."""

from __future__ import annotations

import argparse
import contextlib
import json
import os

from floatingip.commands import arguments
from floatingip.commands.doctor.finding import SETTINGS, failed
from floatingip.core.errors import ConfigurationError, NoCredentials
from floatingip.edges import configmap
from floatingip.edges.ec2.credentials import may_be_a_persons
from floatingip.edges.probes.tcp import service_prober


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what is examined, for how long, and in which form that is shown."""
    arguments.add_settings(parser)
    parser.add_argument("--json", action="store_true", help="for programs: see docs/doctor.md")
    parser.add_argument(
        "--within",
        type=arguments.seconds,
        default=4.0,
        metavar="SECONDS",
        help="after which what has not come is not known (default: %(default)g)",
    )
    arguments.add_place(parser)


def run(options: argparse.Namespace) -> int:
    """Examine, and say what was found; return the exit code."""
    try:
        settings = configmap.load(os.environ, options.settings)
    except ConfigurationError as error:
        findings = [SETTINGS.fail(line) for line in str(error).splitlines()]
    else:
        # Imported late: they take long to load, and are not needed to report bad settings.
        from floatingip.commands.doctor.examine import examine  # noqa: PLC0415
        from floatingip.commands.doctor.facts import Facts, NotKnown  # noqa: PLC0415
        from floatingip.edges.ec2.cloud import check_environment, obtain  # noqa: PLC0415

        facts = Facts(settings, os.environ, service_prober(settings), options.region, options.vpc_id)
        if options.region or may_be_a_persons(os.environ):
            with contextlib.suppress(ConfigurationError, NoCredentials, NotKnown):  # a check reports it
                check_environment()
                obtain(options.region or facts.me.region)
        findings = examine(facts, within=options.within)
    if options.json:
        print(json.dumps([finding.as_fields() for finding in findings], indent=2))
    else:
        print("\n".join(finding.line() for finding in findings))
    return 1 if failed(findings) else 0
