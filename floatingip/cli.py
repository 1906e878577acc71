"""
The command line: the only module that prints for people or exits.

``floatingip attach`` is the init container, ``floatingip observe`` the observer; ``floatingip status`` shows who has
the addresses, ``floatingip doctor`` says what is wrong, ``floatingip handover`` moves addresses on request,
``floatingip pause`` and ``resume`` keep them where they are, ``floatingip release`` cleans up, ``floatingip history``
tells which moves there were.
Exit codes: 0 done, 1 the doctor found something, 2 settings or usage, 3 EC2, 4 denied by IAM, 5 the address is taken by
something else, 6 the node's kernel, 7 IMDS, 8 a release or handover that would be wrong now, 9 the Kubernetes API
server, 70 a defect, 143 ended by SIGTERM before it was done.  Of `status`: 0 all is well, 10 an address is served but
not safe, 11 one is down, 12 that is not known of one.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from floatingip import __version__
from floatingip.core.errors import ConfigurationError, FloatingIPError, MetadataError
from floatingip.core.model import Address, Identity, NodePort
from floatingip.core.overview import Overview
from floatingip.core.ports import Cloud, Metadata, Prober
from floatingip.core.settings import Settings, shown
from floatingip.edges import configmap
from floatingip.edges.tally import Tally
from floatingip.edges.telemetry import Log
from floatingip.runtime.doing import Edges
from floatingip.runtime.loop import Loop

WATCH_EVERY = 2.0
"""Seconds between two looks of `status --watch`."""

CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""Has a terminal begin anew."""

IMDS_RETRY = 2.0
"""Seconds between two tries to learn from IMDS who this node is."""

IMDS_DEADLINE = 30.0
"""Seconds after which that is given up: Kubernetes starts the container again, later and later."""

PAUSE_MINUTES = 30
"""Minutes of a pause, unless the user says otherwise."""

THREADS_SWITCH_AFTER = 0.0005
"""Seconds until a thread that computes lets another one go on (`sys.setswitchinterval`).  Plumbing is some forty short
system calls: by Python's default each may wait 5 ms for the thread that reads EC2's answer.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "history":
            return _history(options)
        if options.command == "doctor":
            return _examine(options)
        effective = configmap.load(os.environ, options.settings)
        if options.command == "release":
            return _release(effective, options)
        if options.command == "handover":
            return _hand_over(effective, options)
        if options.command in ("pause", "resume"):
            return _pause(effective, options)
        if options.command == "status":
            return _status(effective, options)
        if options.command == "attach":
            return _attach(effective, options.settings)
        return _run(options.command, effective, options.settings)
    except FloatingIPError as error:
        _tell(options.command, error)
        return error.exit_code


def _tell(command: str, error: FloatingIPError) -> None:
    for line in str(error).splitlines():
        print(f"floatingip {command}: {line}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="floatingip", description="Keep one reserved VPC address on a live worker.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("status", "show who has the addresses, whether they are well, and who could take them over"),
        ("handover", "move the addresses to another node now, and wait until they are there"),
        ("pause", "keep the addresses where they are for a while, whatever happens to their nodes"),
        ("resume", "end a pause now"),
        ("release", "detach and delete our interfaces; Elastic IPs stay allocated (scale the Deployment to 0 first)"),
        ("doctor", "check all that a failover needs, and say what is wrong, why it matters and what to do"),
        ("attach", "put the address on a node, this one or another, and end (the init container)"),
        ("observe", "keep the address on a live node until SIGTERM (the observer)"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--settings",
            type=Path,
            default=configmap.DEFAULT_PATH,
            metavar="FILE",
            help="the ConfigMap's settings (default: %(default)s); FLOATING_IP comes from the environment",
        )
        if name == "handover":
            command.add_argument(
                "--to",
                type=_like(r"[0-9A-Za-z][0-9A-Za-z.-]*", "an instance id, a primary address or a private DNS name"),
                metavar="NODE",
                help="instance id, primary address or private DNS name (default: any standby)",
            )
            command.add_argument(
                "--check", action="store_true", help="say whether that would work now, change nothing, and end"
            )
        if name == "release":
            command.add_argument("--yes", action="store_true", help="do not ask")
            command.add_argument("--dry-run", action="store_true", help="show what would be done, and end")
            command.add_argument(
                "--unused", action="store_true", help="those of our interfaces that nothing uses, while observers run"
            )
        if name == "pause":
            command.add_argument(
                "--minutes",
                type=_minutes,
                default=PAUSE_MINUTES,
                metavar="N",
                help="how long, a day at most (default: %(default)s); then it is over by itself",
            )
        if name == "status":
            command.add_argument("--json", action="store_true", help="as JSON (docs/status.md)")
            command.add_argument(
                "--watch",
                type=_seconds,
                nargs="?",
                const=WATCH_EVERY,
                metavar="SECONDS",
                help=f"again and again, after so many seconds (default: {WATCH_EVERY:g})",
            )
        if name == "doctor":
            command.add_argument("--json", action="store_true", help="for programs: see docs/doctor.md")
            command.add_argument(
                "--within",
                type=_seconds,
                default=4.0,
                metavar="SECONDS",
                help="after which what has not come is not known (default: %(default)g)",
            )
        if name in ("release", "handover", "pause", "resume", "status", "doctor"):
            region = _like(r"[a-z]+(-[a-z]+)+-[0-9]+", "a Region, such as us-west-2")
            vpc = _like(r"vpc-([0-9a-f]{8}|[0-9a-f]{17})", "a VPC's id, such as vpc-0123456789abcdef0")
            command.add_argument(
                "--region",
                type=region,
                default=os.environ.get("AWS_REGION") or None,
                metavar="REGION",
                help="default: AWS_REGION, or this instance's",
            )
            command.add_argument("--vpc-id", type=vpc, metavar="VPC", help="default: this instance's")
    text = "tell which moves there were in the last weeks, the newest last (from a pod of ours)"
    command = commands.add_parser("history", help=text, description=text)
    command.add_argument("--json", action="store_true", help="as JSON")
    command.add_argument("--address", default="", metavar="ADDRESS", help="of this floating address or allocation only")
    command.add_argument(
        "--since", type=_since, default=0.0, metavar="WHEN", help="90m, 12h, 3d, 2w, or a time in UTC: 2026-11-28T03:00"
    )
    return parser


def _since(text: str) -> float:
    from floatingip.commands import history  # noqa: PLC0415 - as in _run

    try:
        return history.since(text, time.time())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is neither a span, such as 12h, nor a time") from None


def _history(options: argparse.Namespace) -> int:
    from floatingip.commands import history  # noqa: PLC0415 - as in _run
    from floatingip.edges.kubernetes.api_server import ApiServer  # noqa: PLC0415
    from floatingip.edges.kubernetes.board import PodsBoard  # noqa: PLC0415

    kept = PodsBoard(ApiServer(os.environ), "").moves()
    moves = [move for move in kept if options.address in ("", move.address) and move.ended_at >= options.since]
    print(history.document(moves) if options.json else history.table(moves))
    return 0


def _like(pattern: str, what: str) -> Callable[[str], str]:
    """Takes an argument of this form only: what ends up in a filter of EC2's would be a pattern there."""

    def taken(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{shown(text)} is not {what}")
        return text

    return taken


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= 3600.0:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no number of seconds from 1 to 3600")
    return seconds


def _status(effective: Settings, options: argparse.Namespace) -> int:
    from floatingip.commands import status  # noqa: PLC0415 - as in _run
    from floatingip.edges.imds import Imds  # noqa: PLC0415 - as in _run

    @cache
    def made(region: str, vpc_id: str) -> Cloud:
        # It is made in a thread of its own: what it loads takes longer than the observers' answers.
        from floatingip.edges.ec2.cloud import Ec2Cloud, client  # noqa: PLC0415 - as in _run

        return Ec2Cloud(client(region, effective.ec2_timeout), vpc_id, ())

    where: status.Here | None = None
    if options.region and options.vpc_id and effective.name:
        cloud: Callable[[], Cloud] = partial(made, options.region, options.vpc_id)
    else:
        where, cloud = status.inside(
            Imds().identity, lambda me: made(options.region or me.region, options.vpc_id or me.vpc_id)
        )
    code = 0
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        while True:
            seen = status.look(effective, where, cloud)
            code = status.EXIT_CODES[seen.verdict]
            _print(seen, as_json=options.json, watched=bool(options.watch))
            if not options.watch:
                break
            time.sleep(options.watch)
    return code


def _print(seen: Overview, *, as_json: bool, watched: bool) -> None:
    """On a terminal, within its width; what is watched, in the place of what was there."""
    from floatingip.core import table  # noqa: PLC0415 - as in _run

    if as_json:
        print(json.dumps(dataclasses.asdict(seen), indent=None if watched else 2), flush=True)
        return
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else None
    end = "\n\n" if watched and not is_terminal else "\n"
    print(CLEAR if watched and is_terminal else "", "\n".join(table.lines(seen, width)), sep="", end=end, flush=True)


def _hand_over(effective: Settings, options: argparse.Namespace) -> int:
    from floatingip.commands import handover  # noqa: PLC0415 - as in _run
    from floatingip.commands.progress import Progress  # noqa: PLC0415 - as in _run
    from floatingip.core.decision import order  # noqa: PLC0415 - as in _run

    cloud, name, _, me = _outside(effective, options)
    to = handover.instance_named(cloud, options.to) if options.to else order.ANYBODY
    moves = handover.plan(cloud, name, effective.floating_ips, effective.carry, to)
    if not moves:
        print(f"nothing to hand over: {to} has it all")
        return 0
    if options.check:
        unknown = handover.check(cloud, moves, name, effective.carry, effective.port, me, say=print)
        print(f"not known whether a handover would work now: {unknown}" if unknown else "a handover would work now")
        return 0
    if unknown := handover.check(cloud, moves, name, effective.carry, effective.port, me):
        print(unknown)
    with closing(Progress()) as progress:
        handover.carry_out(cloud, moves, name, effective.carry, effective.port, me, progress.say, wait=progress.wait)
    return 0


def _minutes(text: str) -> int:
    from floatingip.core.decision import pause  # noqa: PLC0415 - as in _run

    longest = int(pause.LONGEST) // 60
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= longest):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number of minutes from 1 to {longest}")
    return int(text)


def _pause(effective: Settings, options: argparse.Namespace) -> int:
    from floatingip.commands import pause  # noqa: PLC0415 - as in _run

    cloud, name, _, _ = _outside(effective, options)
    addresses = ", ".join(map(str, effective.floating_ips))
    if options.command == "resume":
        was_paused = pause.end(cloud, name, effective.floating_ips, effective.carry)
        print(f"{addresses}: {'moves again when a holder fails' if was_paused else 'not paused'}")
        return 0
    ends_at = pause.begin(cloud, name, effective.floating_ips, effective.carry, options.minutes * 60.0)
    until = datetime.fromtimestamp(ends_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    print(f"{addresses}: stays on its node until {until}, but for a handover that is asked for")
    return 0


def _outside(effective: Settings, options: argparse.Namespace) -> tuple[Cloud, str, str, str]:
    """EC2, whose interfaces are ours, the VPC, and this instance or nothing: a pod knows them by itself, from elsewhere
    they have to be named.
    """
    from floatingip.agent.looks import cluster_name  # noqa: PLC0415
    from floatingip.edges.ec2.cloud import Ec2Cloud, check_environment, client  # noqa: PLC0415 - as in _run
    from floatingip.edges.imds import Imds  # noqa: PLC0415

    check_environment()
    region, vpc_id, name = options.region, options.vpc_id, effective.name
    me = None
    if not (region and vpc_id and name):
        try:
            me = Imds().identity()
        except MetadataError as error:
            hint = "outside of a worker give --region and --vpc-id, and set `name` in the settings"
            raise MetadataError(str(error), hint) from error
    if me is not None:
        region, vpc_id = region or me.region, vpc_id or me.vpc_id
    cloud = Ec2Cloud(client(region, effective.ec2_timeout), vpc_id, ())
    if me is not None and not name:
        instances = cloud.describe_instances(frozenset((me.instance_id,)))
        name = cluster_name(instances[me.instance_id].tags) if me.instance_id in instances else ""
    if not name:
        raise ConfigurationError("name: not set, and this instance names no cluster; set `name` in the settings")
    return cloud, name, vpc_id, me.instance_id if me is not None else ""


def _release(effective: Settings, options: argparse.Namespace) -> int:
    from floatingip.commands import release  # noqa: PLC0415 - as in _run
    from floatingip.commands.progress import Progress  # noqa: PLC0415 - as in _run

    cloud, name, vpc_id, me = _outside(effective, options)
    chosen = release.plan(cloud, name, effective.floating_ips, unused=options.unused)
    if not chosen.enis:
        print(f"nothing to release: no such interface of {name} in {vpc_id}")
        return 0
    print("\n".join(chosen.lines()))
    if options.dry_run:
        return 0
    unknown = release.refuse_while_observed(cloud, chosen, name, effective.port, me)
    if unknown:
        print(
            f"not known whether an observer runs on {', '.join(unknown)}: no answer; one that runs would attach them"
            f" again; {release.SCALE} first, if that is not done"
        )
    if not options.yes and not _agreed("no observer runs there any more, " if unknown else ""):
        print("nothing was done", file=sys.stderr)
        return 1
    with closing(Progress()) as progress:
        release.carry_out(cloud, chosen, name, progress.say, wait=progress.wait)
        if any(eni.attachment is not None for eni in chosen.enis):
            release.stay_gone(cloud, chosen, name, wait=progress.wait)
    return 0


def _examine(options: argparse.Namespace) -> int:
    from floatingip.commands.doctor.finding import SETTINGS, failed  # noqa: PLC0415 - as in _run

    try:
        effective = configmap.load(os.environ, options.settings)
    except ConfigurationError as error:
        findings = [SETTINGS.fail(line) for line in str(error).splitlines()]
    else:
        from floatingip.commands.doctor.examine import examine  # noqa: PLC0415 - as in _run
        from floatingip.commands.doctor.facts import Facts  # noqa: PLC0415 - as in _run

        facts = Facts(effective, os.environ, _service_prober(effective), options.region, options.vpc_id)
        findings = examine(facts, within=options.within)
    if options.json:
        print(json.dumps([finding.as_fields() for finding in findings], indent=2))
    else:
        print("\n".join(finding.line() for finding in findings))
    return 1 if failed(findings) else 0


def _agreed(premise: str) -> bool:
    """Asks; without a terminal nobody can answer, so that is a no."""
    return sys.stdin.isatty() and input(f"{premise}detach and delete these? [y/N] ").strip().lower() in ("y", "yes")


def _attach(effective: Settings, path: Path) -> int:
    try:
        return _run("attach", effective, path)
    except FloatingIPError as error:
        # At once: what follows takes some seconds, in which the container may be ended.
        _tell("attach", error)
        code = error.exit_code
        signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(code))
        threading.excepthook = threading.__excepthook__
        _tell_what_fails(effective)
        return code


def _tell_what_fails(effective: Settings) -> None:
    """What the doctor finds wrong of that on which ``attach`` depends."""
    from floatingip.commands.doctor.examine import FOR_ATTACH, FOR_ATTACH_WITHIN, examine  # noqa: PLC0415
    from floatingip.commands.doctor.facts import Facts  # noqa: PLC0415 - as in _run
    from floatingip.commands.doctor.finding import failed  # noqa: PLC0415 - as in _run
    from floatingip.edges.ec2.cloud import check_environment  # noqa: PLC0415 - as in _run

    with contextlib.suppress(ConfigurationError):  # which has been told
        check_environment()
        for finding in failed(examine(Facts(effective, os.environ, None), FOR_ATTACH, within=FOR_ATTACH_WITHIN)):
            print(f"floatingip attach: doctor: {finding.line()}", file=sys.stderr, flush=True)


def _run(command: str, effective: Settings, path: Path) -> int:
    log = Log(style=effective.log)
    log.info("settings", command=command, version=__version__, **effective.effective())
    # Only now: these take most of the start-up's time, and bad settings are told without them.
    from floatingip.edges.ec2.cloud import Ec2Cloud, check_environment, client  # noqa: PLC0415
    from floatingip.edges.imds import Imds  # noqa: PLC0415
    from floatingip.edges.kernel.host import KernelHost  # noqa: PLC0415
    from floatingip.edges.kubernetes.api_server import ApiServer  # noqa: PLC0415
    from floatingip.edges.kubernetes.board import PodsBoard  # noqa: PLC0415
    from floatingip.edges.kubernetes.node_ports import PodsServices  # noqa: PLC0415
    from floatingip.edges.kubernetes.own_pod import PodsOrders  # noqa: PLC0415
    from floatingip.edges.probes.icmp import IcmpProber  # noqa: PLC0415
    from floatingip.edges.probes.reach import ReachProber  # noqa: PLC0415
    from floatingip.edges.probes.tcp import KnockProber  # noqa: PLC0415

    def prober(address: Address) -> Prober:
        # The port is the observers', which workers must admit from each other anyway.
        timeout = effective.probe_timeout
        return ReachProber(IcmpProber(address, timeout), KnockProber(address, effective.port, timeout))

    check_environment()
    metadata = Imds()
    me = dataclasses.replace(_identity(metadata, log), node=os.environ.get("NODE_NAME", ""))
    log.info("node", instance=me.instance_id, zone=me.zone, address=me.address, node=me.node)
    api_server = ApiServer(os.environ)
    tally = Tally()
    groups = effective.security_groups or me.security_groups
    edges = Edges(
        cloud=Ec2Cloud(client(me.region, effective.ec2_timeout), me.vpc_id, groups, tally=tally),
        host=KernelHost(),
        prober=prober,
        metadata=metadata,
        orders=PodsOrders(api_server),
        service=_service_prober(effective),
        services=PodsServices(api_server),
        tally=tally,
        settings=partial(configmap.Watched(path).changed, os.environ),
        board=PodsBoard(api_server, os.environ.get("NODE_NAME", "")),
    )
    loop = Loop(effective, me, edges, log, observes=command == "observe")
    sys.setswitchinterval(THREADS_SWITCH_AFTER)
    # What is loaded by now, most of it EC2's service model, stays for good.  A full garbage collection would walk all
    # of it, which stops every thread for up to 80 ms: most likely while there is much to do, as in a takeover.
    gc.freeze()
    threading.excepthook = lambda failed: _die(log, failed)
    signal.signal(signal.SIGTERM, lambda _number, _frame: loop.stop())
    return loop.run()


def _service_prober(effective: Settings) -> Callable[[NodePort, Address], Prober] | None:
    """What checks a NodePort at an address; None when none is checked."""
    from floatingip.edges.probes.tcp import HttpProber, TcpProber  # noqa: PLC0415 - as in _run

    timeout = effective.service_timeout

    def prober(node_port: NodePort, address: Address) -> Prober:
        if node_port.path:
            return HttpProber(address, node_port.port, node_port.path, timeout)
        return TcpProber(address, node_port.port, timeout)

    return prober if effective.service else None


def _die(log: Log, failed: threading.ExceptHookArgs) -> None:
    """A thread that ended by a defect would leave the agent blind: better to end and be started again."""
    trace = "".join(traceback.format_exception(failed.exc_type, failed.exc_value, failed.exc_traceback))
    log.error("defect", trace, thread=failed.thread.name if failed.thread else "")
    os._exit(70)


def _identity(metadata: Metadata, log: Log) -> Identity:
    deadline, told = time.monotonic() + IMDS_DEADLINE, set[str]()
    while True:
        try:
            me = metadata.identity()
        except MetadataError as error:
            if time.monotonic() > deadline:
                raise
            if str(error) not in told:
                # PLE1205 takes telemetry.Log for logging's: here the second argument is the message.
                log.warning("imds", str(error), retry_in=IMDS_RETRY)
            told.add(str(error))
            time.sleep(IMDS_RETRY)
        else:
            if told:
                log.info("imds", "IMDS answers again")
            return me
