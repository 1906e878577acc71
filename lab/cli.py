"""
The lab's command line.

    python -m lab list                    the scenarios
    python -m lab run SCENARIO            one of them, judged; exit code 1 when the checker finds a fault
    python -m lab demo                    a power cut, live
    python -m lab report HISTORY          a page about a run, from what `run --history HISTORY` wrote
    python -m lab torture --minutes M     one misfortune after the other, and some at a time; exit code 1 on a fault
    python -m lab soak --failovers N      one failover after the other, and what is left of them; exit code 1 on a leak

The lab runs in namespaces of its own (sandbox.py), and touches nothing outside of them.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

from floatingip.cli import Parser
from lab import sandbox
from lab.command_line import count, written
from lab.history import Event
from lab.kubernetes.cluster import ClusterFailed, Kind
from lab.kubernetes.real import host
from lab.kubernetes.small import image

NETWORKS = (ip_network("10.0.0.0/24"), ip_network("2001:db8:0:1::/64"))
"""The networks of the lab's subnet, repeated from `lab.ec2.server`, which takes a second to load."""

WEEK = 7 * 24 * 60
"""A week, in minutes."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "list":
        return _list()
    if options.command == "report":
        return _picture(options)
    if not sandbox.inside():
        command = [sys.executable, "-m", "lab", *arguments]
        if options.kubernetes == Kind.REAL:
            return host.enter(command, options.image or host.IMAGE)
        return sandbox.enter(command) if options.image is None else image.enter(options.image, command)
    if options.kubernetes == Kind.REAL:
        host.given()
    elif options.image is not None and image.given() is None:
        raise SystemExit("lab: an image can only be mounted outside of a sandbox")
    try:
        return {"demo": _demo, "run": _run, "torture": _torture, "soak": _soak}[options.command](options)
    except (TimeoutError, ClusterFailed) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lab", description="A VPC in a box.")
    parser.set_defaults(image=None, kubernetes=Kind.SMALL)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="name the scenarios")
    run = commands.add_parser("run", help="run a scenario and judge it")
    _add_run(run)
    demo = commands.add_parser("demo", help="a power cut, live")
    demo.add_argument("--seed", type=int, default=0, help="as for `run`")
    for command in (run, demo):
        command.add_argument(
            "--kubernetes",
            choices=list(map(str, Kind)),
            default=str(Kind.SMALL),
            help="which one runs the pods: the lab's own, or the real one, as root (default: %(default)s)",
        )
    report = commands.add_parser("report", help="write a page about a run: who had the address, and what clients got")
    report.add_argument("history", type=Path, metavar="HISTORY", help="what `run --history` wrote")
    report.add_argument(
        "--output", type=written, metavar="FILE", help="the page (default: HISTORY with the suffix .html)"
    )
    _add_torture(commands.add_parser("torture", help="one misfortune after the other, and some at a time"))
    _add_soak(commands.add_parser("soak", help="one failover after the other, and what is left of them"))
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("scenario", help="one of those that `list` names")
    run.add_argument("--ec2", choices=("instant", "typical", "slow"), default="typical", help="how long EC2 takes")
    run.add_argument(
        "--ip",
        type=_floating,
        metavar="LIST",
        help="the floating addresses, separated by commas: of 10.0.0.0/24, of 2001:db8:0:1::/64, or `eip` for an"
        " Elastic IP (default: the scenario's, which mostly is 10.0.0.100)",
    )
    run.add_argument(
        "--carry", choices=("eni", "address"), default="eni", help="what moves at a failover (default: %(default)s)"
    )
    run.add_argument("--image", metavar="NAME", help="run the pods from this image of podman's; as root")
    run.add_argument("--seed", type=int, default=0, help="makes names and latencies repeatable (default: %(default)s)")
    run.add_argument("--json", type=written, metavar="FILE", help="write the verdict there")
    run.add_argument("--history", type=written, metavar="FILE", help="write all events there, one JSON object a line")
    run.add_argument("--quiet", action="store_true", help="no timeline, only the table")
    run.add_argument(
        "--asking",
        action="store_true",
        help="run `status` and `doctor` on every worker before, during and after, and judge what they say instead",
    )


def _add_torture(torture: argparse.ArgumentParser) -> None:
    torture.add_argument("--minutes", type=_minutes, default=10.0, help="no round begins later (default: %(default)g)")
    torture.add_argument("--seed", type=int, default=0, help="which misfortunes, in which order (default: %(default)s)")
    torture.add_argument("--first", type=count, default=1, metavar="ROUND", help="begin with this one of the seed's")
    torture.add_argument("--rounds", type=count, metavar="N", help="end after so many")
    torture.add_argument("--workers", type=int, choices=range(3, 6), default=3, help="(default: %(default)s)")
    _add_of_many_failovers(torture)


def _add_soak(soak: argparse.ArgumentParser) -> None:
    until = soak.add_mutually_exclusive_group(required=True)
    until.add_argument("--minutes", type=_minutes, help="no failover begins later")
    until.add_argument("--failovers", type=count, help="how many")
    soak.add_argument("--seed", type=int, default=0, help="as for `run`")
    _add_of_many_failovers(soak)


def _add_of_many_failovers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--carry", choices=("eni", "address"), default="eni", help="as for `run`")
    command.add_argument("--ec2", choices=("instant", "typical", "slow"), default="typical", help="as for `run`")
    command.add_argument(
        "--report",
        type=written,
        metavar="FILE",
        help="write what came of it there, in Markdown, as the section of this way to carry",
    )
    command.add_argument("--history", type=written, metavar="FILE", help="as for `run`")


def _floating(text: str) -> tuple[str, ...]:
    """Addresses that the lab's VPC can have, as `run --ip` takes them."""
    addresses = tuple(text.split(","))
    for address in addresses:
        try:
            network = next((each for each in NETWORKS if ip_address(address) in each), None)
        except ValueError:
            network = None
        if network is None and address != "eip":
            raise argparse.ArgumentTypeError(f"{address!r} is neither eip nor in {' or '.join(map(str, NETWORKS))}")
        if network is not None and ip_address(address) in (*map(network.__getitem__, range(4)), network[-1]):
            raise argparse.ArgumentTypeError(f"AWS keeps {address}, as the first four and the last of {network}")
    return addresses


def _minutes(text: str) -> float:
    """A number of minutes, a week at most."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number <= WEEK:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0, up to {WEEK} (a week)")
    return number


def _list() -> int:
    from lab.run.kubernetes_scenarios import ALL  # noqa: PLC0415 - takes a second, which others need not wait for twice

    width = max(map(len, ALL))
    for scenario in ALL.values():
        print(f"{scenario.name:{width}}  {scenario.title}")
    return 0


def _picture(options: argparse.Namespace) -> int:
    from lab.pages import report  # noqa: PLC0415 - as above

    output = options.output or options.history.with_suffix(".html")
    try:
        events = [json.loads(line) for line in options.history.read_text(encoding="utf-8").splitlines()]
        output.write_text(report.html(events), encoding="utf-8")
    except (OSError, ValueError, LookupError) as error:
        print(f"lab: {error}" if isinstance(error, OSError) else f"lab: {options.history}: {error}", file=sys.stderr)
        return 1
    print(output)
    return 0


def _run(options: argparse.Namespace) -> int:
    from lab.ec2 import PROFILES  # noqa: PLC0415 - as above
    from lab.run import play, show  # noqa: PLC0415 - as above
    from lab.run.kubernetes_scenarios import ALL  # noqa: PLC0415 - as above

    if options.scenario not in ALL:
        print(f"lab: no scenario {options.scenario!r}; see `python -m lab list`", file=sys.stderr)
        return 2
    if options.asking and options.kubernetes == Kind.REAL:
        print("lab: --asking needs the small Kubernetes", file=sys.stderr)
        return 2
    scenario, profile = ALL[options.scenario], PROFILES[options.ec2]
    addresses = options.ip or scenario.addresses
    events: list[Event] = []
    with show.Timeline(live=not options.quiet) as timeline:

        def watch(event: Event) -> None:
            timeline.show(event)
            events.append(event)

        verdict = play.run(
            scenario,
            profile,
            options.seed,
            addresses=addresses,
            carry=options.carry,
            kubernetes=Kind(options.kubernetes),
            record_to=options.history,
            watch=watch,
            asks=options.asking,
        )
    if options.json is not None:
        options.json.write_text(
            json.dumps({**verdict.to_dict(), "ip": ",".join(addresses), "seed": options.seed}, indent=2) + "\n"
        )
    show.table([verdict])
    if options.asking:
        show.answers(events)
    return 0 if verdict.ok else 1


def _torture(options: argparse.Namespace) -> int:
    from lab.ec2 import PROFILES  # noqa: PLC0415 - as above
    from lab.run import report, show  # noqa: PLC0415 - as above
    from lab.run.kubernetes_scenarios import ALL  # noqa: PLC0415 - as above
    from lab.run.torture import Torture  # noqa: PLC0415 - as above

    torture = Torture(
        profile=PROFILES[options.ec2],
        minutes=options.minutes,
        seed=options.seed,
        carry=options.carry,
        first=options.first,
        rounds=options.rounds,
        workers=options.workers,
    )
    began = time.monotonic()
    outcomes = torture.run(show.outcome, options.history)
    return _report(
        options,
        report.torture(torture, outcomes, time.monotonic() - began, ALL),
        all(one.ok or one.undecided for one in outcomes),
    )


def _soak(options: argparse.Namespace) -> int:
    from lab.ec2 import PROFILES  # noqa: PLC0415 - as above
    from lab.run import report, show  # noqa: PLC0415 - as above
    from lab.run.soak import Soak  # noqa: PLC0415 - as above

    soak = Soak(
        profile=PROFILES[options.ec2],
        minutes=options.minutes,
        failovers=options.failovers,
        seed=options.seed,
        carry=options.carry,
    )
    found = soak.run(show.outcome, options.history)
    return _report(options, report.soak(soak, found), found.ok)


def _report(options: argparse.Namespace, text: str, ok: bool) -> int:
    from lab.run import report  # noqa: PLC0415 - as above

    if options.report is not None:
        written = options.report.read_text(encoding="utf-8") if options.report.exists() else ""
        options.report.write_text(report.put(written, f"`carry: {options.carry}`", text), encoding="utf-8")
    print(text)
    return 0 if ok else 1


def _demo(options: argparse.Namespace) -> int:
    from lab.run import play, scenarios, show  # noqa: PLC0415 - as above

    scenario, profile = scenarios.named("power-cut", "typical")
    show.introduce(scenario, profile)
    with show.Timeline(live=True) as timeline:
        verdict = play.run(scenario, profile, options.seed, kubernetes=Kind(options.kubernetes), watch=timeline.show)
    show.table([verdict])
    return 0 if verdict.ok else 1
