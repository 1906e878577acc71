"""
``floatingip status``: who has the addresses, whether they are well, and who could take them over.

It asks this node's observer, those that this one names or that EC2 shows, and EC2 itself, all at the same time and each
for a few seconds at most.  So there is an answer in less than five seconds, even if some are silent, and it says what
could not be learned.  Nothing is changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from ipaddress import IPv4Address
from typing import NamedTuple, TypeVar

from floatingip.commands import arguments
from floatingip.commands.complaint import complain
from floatingip.commands.ec2_view import Shown, ask_ec2
from floatingip.commands.place import check_place
from floatingip.commands.progress import is_live
from floatingip.core import table
from floatingip.core.errors import (
    CloudError,
    CloudUnavailable,
    ConfigurationError,
    Denied,
    FloatingIPError,
    MetadataError,
    NoCredentials,
    Throttled,
)
from floatingip.core.model import Address
from floatingip.core.node import Identity
from floatingip.core.overview import Ec2View, Overview, Verdict, document, overview
from floatingip.core.ports import Cloud
from floatingip.core.report import Report
from floatingip.core.settings import Settings
from floatingip.core.word import PEERS_AT_MOST
from floatingip.edges import background, configmap
from floatingip.edges.ec2.credentials import may_be_a_persons
from floatingip.edges.imds import Imds
from floatingip.runtime.calls import Calls
from floatingip.runtime.peers import Contact, NoReport

EXIT_CODES = {Verdict.HEALTHY: 0, Verdict.DEGRADED: 10, Verdict.DOWN: 11, Verdict.UNKNOWN: 12}
"""The exit code, by the worst verdict on any of the addresses."""

ANSWERED_WITHIN = 2.0
"""Seconds for an observer's report."""

EC2_WITHIN = 2.5
"""Seconds for all questions to EC2 together, from the first one on."""

DONE_WITHIN = 4.0
"""Seconds for all that `status` asks."""

IMDS_WITHIN = 1.0
"""Seconds for what IMDS tells of this node."""

LATE = 0.1
"""Seconds that an answer may take from the thread that asked for it to the main one."""

ANYWHERE = ("192.0.2.1", 9)
"""An address outside every VPC: the kernel tells from which of this node's addresses it would send there."""

ASKED_AGAIN = 0.3
"""Seconds after which an observer that has yet to learn from EC2 who asks is asked again."""

WATCH_EVERY = 2.0
"""Seconds between two looks with `--watch`."""

CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""Clears a terminal, and begins at its top."""

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say whose addresses are shown, and how."""
    arguments.add_settings(parser)
    parser.add_argument("--json", action="store_true", help="as JSON (docs/status.md)")
    parser.add_argument(
        "--watch",
        type=arguments.seconds,
        nargs="?",
        const=WATCH_EVERY,
        metavar="SECONDS",
        help=f"again and again, after so many seconds (default: {WATCH_EVERY:g})",
    )
    arguments.add_place(parser)


def run(options: argparse.Namespace) -> int:
    """Show the status, once or repeatedly; return the exit code.  Raises FloatingIPError."""
    settings = configmap.load(os.environ, options.settings)
    place: Place | None = None
    code: int | None = None
    try:
        while True:
            try:
                if place is None or place.lacks_instance:  # IMDS may answer by now
                    place = find(settings, options.region, options.vpc_id)
                obtain(place.here, options.region)
                seen = look(settings, *place)
            except FloatingIPError as error:
                if code is None:
                    raise
                complain("status", error)  # below the last status, which stays: `--watch` goes on
                code = error.exit_code
            else:
                code = EXIT_CODES[seen.verdict]
                show(seen, as_json=options.json, watched=bool(options.watch))
            if not options.watch:
                return code
            time.sleep(options.watch)
    except (KeyboardInterrupt, BrokenPipeError) as ended:
        if code is None:  # nothing was shown, so 0 ("all is well") would be wrong
            raise
        if isinstance(ended, BrokenPipeError):
            read_no_more()
        return code


def read_no_more() -> None:
    """Redirect standard output to nowhere once its reader has gone, so that what is still buffered fails no write."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def obtain(here: Here | None, region: str | None) -> None:
    """Get a person's credentials (`sdk.obtain`), and get them again if `--watch` goes on for longer than they last.

    In a pod, which has none, this loads nothing.  Raises ConfigurationError and NoCredentials if only EC2 can be asked;
    otherwise the observers' answers are enough.
    """
    region = region or (here.region if here is not None else "")
    if not region or (here is not None and not may_be_a_persons(os.environ)):
        return
    from floatingip.edges.ec2 import cloud as ec2  # noqa: PLC0415 - loading it takes a while

    with suppress(*() if here is None else (ConfigurationError, NoCredentials)):
        ec2.check_environment()
        ec2.obtain(region)


def show(seen: Overview, *, as_json: bool, watched: bool) -> None:
    """Print the status, on a terminal within its width; with ``watched`` it replaces the last one."""
    if as_json:
        print(json.dumps(document(seen), indent=None if watched else 2), flush=True)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    begin, end = ("", "\n") if not watched else (CLEAR, "\n") if is_live(sys.stdout) else ("", "\n\n")
    print(begin, "\n".join(table.lines(seen, width)), sep="", end=end, flush=True)


@dataclass(frozen=True, slots=True)
class Here:
    """Where this runs: the worker's instance (empty if IMDS does not tell), its primary address, and its Region."""

    instance: str
    address: Address
    region: str = ""


class Place(NamedTuple):
    """``here`` is where this runs, None outside a worker; ``cloud`` makes EC2's port; ``wall`` is Unix time there."""

    here: Here | None
    cloud: Callable[[], Cloud]
    wall: Callable[[], float]

    @property
    def lacks_instance(self) -> bool:
        """Whether this is a worker, and IMDS has not told which one."""
        return self.here is not None and not self.here.instance


def find(settings: Settings, region: str | None, vpc_id: str | None) -> Place:
    """The place that the arguments name, or the one where this runs.  Raises MetadataError."""
    if region and vpc_id and settings.name:
        ec2 = _Ec2(settings, region, vpc_id)
        return Place(None, lambda: ec2.checked, ec2.wall)
    made = cache(lambda me: _Ec2(settings, *arguments.place(region, vpc_id, me)).cloud)
    return Place(*inside(Imds().identity, made), time.time)


class _Ec2:
    """EC2 in one place; what it has told once of the place is not asked again, however long somebody watches."""

    def __init__(self, settings: Settings, region: str, vpc_id: str) -> None:
        self._settings = settings
        self._place = region, vpc_id

    @cached_property
    def _made(self) -> tuple[Cloud, Callable[[], tuple[float | None, float]]]:
        # Imported here, in the thread that asks EC2: loading it takes longer than the observers take to answer.
        from floatingip.edges.ec2.cloud import Ec2Cloud, client  # noqa: PLC0415
        from floatingip.edges.ec2.inspection import Inspection  # noqa: PLC0415

        region, vpc_id = self._place
        ec2 = client(region, self._settings.ec2_timeout)
        return Ec2Cloud(ec2, vpc_id, ()), Inspection(ec2, region, vpc_id).clock

    @property
    def cloud(self) -> Cloud:
        """EC2's port."""
        return self._made[0]

    @cached_property
    def checked(self) -> Cloud:
        """EC2's port, once EC2 has shown that the place exists.  Raises ConfigurationError and CloudError."""
        check_place(self.cloud, *self._place, Calls().patiently)  # the user wants to know at once that EC2 throttles
        return self.cloud

    def wall(self) -> float:
        """Unix time by EC2's clock."""
        with suppress(CloudError):  # with `--watch` it is asked again
            return time.time() - self._ahead
        return time.time()

    @cached_property
    def _ahead(self) -> float:
        _, clock = self._made
        try:
            return clock()[0] or 0.0
        except Denied:  # a person may lack the permission for this, and most clocks are right
            return 0.0


def inside(identity: Callable[[], Identity], cloud: Callable[[Identity], Cloud]) -> tuple[Here, Callable[[], Cloud]]:
    """Where this runs, and a function that makes EC2's port.

    If IMDS does not answer, only the address from which this node reaches others is known of the place, and the
    function raises MetadataError, which says why EC2 cannot be asked.  Raises MetadataError itself if there is no such
    address either.
    """
    try:
        me = _result(background.begin("status-beside", identity), IMDS_WITHIN, MetadataError("IMDS does not answer"))
    except MetadataError as error:
        problem = error
    else:
        return Here(me.instance_id, me.address, me.region), lambda: cloud(me)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outwards:
            outwards.connect(ANYWHERE)  # sends nothing
            address = IPv4Address(outwards.getsockname()[0])
    except OSError:
        raise MetadataError(str(problem), arguments.ELSEWHERE) from problem

    def unknown() -> Cloud:
        raise MetadataError(f"which EC2 is to be asked is not known: {problem}")

    return Here("", address), unknown


def look(
    settings: Settings,
    here: Here | None,
    cloud: Callable[[], Cloud],
    wall: Callable[[], float] = time.time,
    now: Callable[[], float] = time.monotonic,
) -> Overview:
    """The overview of now; ``here`` is None if no observer can be asked, and ``cloud`` makes EC2's port.

    ``wall`` is Unix time as observers have it.  It is called only after ``cloud`` has made EC2's port, since it may go
    by EC2's clock.  Raises MetadataError if neither IMDS nor an observer on this node tells which node this is, and
    CloudError if only EC2 could be asked and does not answer.
    """
    began, port = now(), settings.port
    me = here.instance if here is not None else ""
    until = began + (EC2_WITHIN if here is not None else settings.ec2_timeout) - 2 * LATE
    asked = background.begin("status-beside", lambda: ask_ec2(cloud(), settings, me, wall(), lambda: until - now()))
    source = here.address if here is not None and me else None
    told = _Told(port, source, now, began + DONE_WITHIN)
    if here is not None:
        own = Contact(here.address, port, me).report(ANSWERED_WITHIN)
        if isinstance(own, Report):
            me = own.instance
        elif not me:
            said = f"IMDS tells no instance, and at {here.address}:{port} no observer answers: {own.why}"
            raise MetadataError(said, arguments.ELSEWHERE)
        told.learn(me, own)
        told.ask(me, {peer.instance: peer.address for peer in own.peers} if isinstance(own, Report) else {})
        shown = _shown(asked, max(0.0, began + EC2_WITHIN - now()))
        told.ask(me, {instance: str(address) for instance, address in shown.addresses.items()})
    else:
        shown = _result(asked, settings.ec2_timeout, CloudUnavailable(f"no answer within {settings.ec2_timeout:g} s"))
    name = settings.name or next((report.name for report in told.reports.values()), "")
    targets = [str(target) for target in settings.floating_ips]
    seen = overview(wall(), name, targets, list(told.reports.values()), told.silent, shown.view)
    return seen if told.reports else replace(seen, carry=str(settings.carry))  # EC2's answer was read by this setting


def _result(asked: Future[T], seconds: float, late: FloatingIPError) -> T:
    """The answer, or what was raised instead.  Raises ``late`` if neither has come in time."""
    try:
        return asked.result(timeout=seconds)
    except Late:
        raise late from None


# The observers.


class _Told:
    """What the observers report until the time ``until``: their ``reports``, and why the ``silent`` ones gave none.

    ``source`` is this worker's primary address, from which they are asked; None if it is not known.
    """

    def __init__(self, port: int, source: Address | None, now: Callable[[], float], until: float) -> None:
        self._port = port
        self._source = source
        self._now = now
        self._until = until
        self.reports: dict[str, Report] = {}
        self.silent: dict[str, str] = {}

    def learn(self, instance: str, report: Report | NoReport) -> None:
        """Take up the report of one observer that was asked, or why there is none."""
        if isinstance(report, NoReport):
            self.silent[instance] = report.why
        elif report.instance == instance:
            self.reports[instance] = report
        else:
            self.silent[instance] = "another one answers in its place"

    def ask(self, me: str, addresses: Mapping[str, str]) -> None:
        """Ask those observers at these primary addresses that were not asked yet, all at the same time."""
        unasked = sorted(addresses.keys() - self.reports.keys() - self.silent.keys())[:PEERS_AT_MOST]
        within = min(self._until - self._now(), ANSWERED_WITHIN)
        begun = {
            each: background.begin("status-beside", partial(self._patiently, addresses[each], me, within))
            for each in unasked
        }
        until = self._now() + within + LATE
        for each, asked in begun.items():
            try:
                report = asked.result(timeout=max(0.0, until - self._now()))
            except Late:
                report = NoReport("no answer in time")
            self.learn(each, report)

    def _patiently(self, address: str, me: str, seconds: float) -> Report | NoReport:
        """Ask one observer, and ask it again for a while: it may have to learn from EC2 first who asks."""
        until, contact = self._now() + seconds, Contact(address, self._port, me, self._source)
        while True:
            report = contact.report(until - self._now())
            may_report = isinstance(report, NoReport) and report.later
            if not may_report or self._now() + ASKED_AGAIN > until:
                return report
            time.sleep(ASKED_AGAIN)


# EC2.


class _Late(CloudError):
    """EC2 was late, perhaps not by its own fault: loading the SDK takes the first of its few seconds."""


def _shown(asked: Future[Shown], seconds: float) -> Shown:
    try:
        return _result(asked, seconds, _Late(f"no answer within {EC2_WITHIN:g} s"))
    except FloatingIPError as error:
        # If the account is throttled, or there are no credentials here, the observers know better whether EC2 answers.
        is_silent = isinstance(error, CloudUnavailable) and not isinstance(error, Throttled | NoCredentials)
        return Shown(Ec2View(str(error), is_silent=is_silent), {})
