"""Arguments that several commands have, and checks of an argument's form."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from floatingip.core.errors import ConfigurationError
from floatingip.core.model import Target
from floatingip.core.node import Identity
from floatingip.core.settings import shown
from floatingip.edges import configmap

ELSEWHERE = "outside of a worker give --region and --vpc-id, and set `name` in the settings"
"""What to do if IMDS does not tell which node this is."""


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says where the settings are."""
    parser.add_argument(
        "--settings",
        type=Path,
        default=configmap.DEFAULT_PATH,
        metavar="FILE",
        help="the ConfigMap's settings (default: %(default)s); FLOATING_IP comes from the environment",
    )


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the Region and the VPC; on a worker they need not be given: see `place`."""
    variable, known = _region_of_environment()
    instead = f"; without --region that is {variable} in the environment" if variable else ""
    region = like(r"[a-z]+(-[a-z]+)+-[0-9]+", f"a Region, such as us-west-2{instead}")
    vpc = like(r"vpc-([0-9a-f]{8}|[0-9a-f]{17})", "a VPC's id, such as vpc-0123456789abcdef0")
    parser.add_argument(
        "--region",
        type=region,
        default=known,
        metavar="REGION",
        help="default: AWS_REGION, AWS_DEFAULT_REGION, or this instance's; without --vpc-id always this instance's",
    )
    parser.add_argument("--vpc-id", type=vpc, metavar="VPC", help="default: this instance's")


def place(region: str | None, vpc_id: str | None, me: Identity) -> tuple[str, str]:
    """The Region and the VPC that these arguments name on the worker ``me``.

    The worker's own VPC is in the worker's own Region, whatever the environment has been given for other programs: any
    other Region shows nothing there, as if all our interfaces were gone.  Raises ConfigurationError if a person has
    named another Region, and no VPC.
    """
    if not vpc_id and region not in (None, me.region, _region_of_environment()[1]):
        remedy = "give --vpc-id, too, or leave --region out"
        raise ConfigurationError(f"--region {region}: this worker's VPC is in {me.region}", remedy)
    return (region or me.region, vpc_id) if vpc_id else (me.region, me.vpc_id)


def _region_of_environment() -> tuple[str, str | None]:
    """The variable of the environment that names a Region, empty if none does; and that Region."""
    known = {name: os.environ.get(name, "").strip() for name in ("AWS_REGION", "AWS_DEFAULT_REGION")}
    variable = next(filter(known.get, known), "")
    return variable, known.get(variable)


def like(pattern: str, what: str) -> Callable[[str], str]:
    """The type of an argument that must match ``pattern``: an EC2 filter would read some characters as wildcards."""

    def taken(text: str) -> str:
        text = text.strip()  # in a script with Windows line ends the last argument ends with a carriage return
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{shown(text)} is not {what}")
        return text

    return taken


def without_it(command: str, rest: Iterable[Target]) -> str:
    """What to do if one of several addresses keeps a command from the ``rest``; empty if there is no rest."""
    named = ",".join(map(str, rest))
    return named and f"to leave it out: `env FLOATING_IP={named} floatingip {command}`"


def seconds(text: str) -> float:
    """A number of seconds, an hour at most."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1.0 <= number <= 3600.0:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no number of seconds from 1 to 3600")
    return number
