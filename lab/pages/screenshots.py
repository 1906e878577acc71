"""
The pictures of docs/status.md: what an observer's page looks like in a failover of the lab, to Debian's Chromium.

    python -m lab.pages.screenshots DIR      write them, as MOMENT-WIDTH-SCHEME.png
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from lab import sandbox
from lab.ec2 import PROFILES
from lab.history import History
from lab.kubernetes.cluster import OBSERVERS
from lab.pages.chromium import LOOKS, Chromium, ChromiumFailed
from lab.run import nemesis
from lab.run.machine import Machine
from lab.run.region import Region

PORT = 9807
SHOWN = ("during", "after")

SEEN_FOR = 60.0
"""Seconds of peace before the failover, as the pictures show."""

KNOWN_AFTER, TOLD_AFTER = 1.0, 12.0
"""Seconds from the decision to take over until all observers know that the address is down, and from the failover's end
until all have told each other.
"""

WITHIN = 60.0
"""Seconds within which observers must be ready, or an event must come, on a busy machine."""


def failover(region: Region, peace: float) -> Iterator[tuple[str, Machine]]:
    """
    Deploy to all workers, wait for so many seconds of peace, and let the holder lose power.  Yields before, during and
    after the failover: the moment's name, and a node that is a standby then.  Raises TimeoutError if one of these steps
    takes too long.
    """
    region.deploy()
    region.cluster.scale(OBSERVERS, len(region.machines))
    region.cluster.wait_ready(WITHIN)
    holder, [standby, *_] = region.holder(), region.standbys()
    time.sleep(peace)
    yield "before", standby
    nemesis.cut_power(region, holder)
    _await(region, "takeover", KNOWN_AFTER)
    yield "during", standby
    _await(region, "failover", TOLD_AFTER)
    yield "after", next(machine for machine in region.standbys() if machine is not holder)


def _await(region: Region, event: str, more: float) -> None:
    deadline = time.monotonic() + WITHIN
    while not region.logged(event=event):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {event} within {WITHIN:g} s")
        time.sleep(0.1)
    time.sleep(more)


def read(region: Region, peace: float) -> Iterator[tuple[str, Chromium]]:
    """
    The same moments, each with a browser that has the page of a standby open.  The browser runs on one standby: it
    reads that one's page by the loopback, and another's as a peer does.  Raises ChromiumFailed, TimeoutError.
    """
    with ExitStack() as stack:
        chromium, reader = None, None
        for moment, machine in failover(region, peace):
            if chromium is None:
                reader, chromium = machine, stack.enter_context(Chromium(machine.worker.namespace.argv))
            chromium.open(f"http://{'127.0.0.1' if machine is reader else machine.worker.address}:{PORT}/")
            yield moment, chromium


def main() -> int:
    """Write all pictures; the exit code is 1 if they could not be taken."""
    parser = argparse.ArgumentParser(prog="python -m lab.pages.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    options = parser.parse_args()
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "lab.pages.screenshots", str(options.folder)])
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        with History() as history, Region(PROFILES["typical"], history, workers=3) as region:
            for moment, chromium in read(region, SEEN_FOR):
                for looks in LOOKS if moment in SHOWN else ():
                    chromium.look(looks)
                    picture = options.folder / f"{moment}-{looks}.png"
                    picture.write_bytes(chromium.picture())
                    print(picture, flush=True)
    except (ChromiumFailed, TimeoutError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
