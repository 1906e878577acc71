"""Changes of the ConfigMap, which observers learn of one after the other."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address

from floatingip.agent.events import SettingsFound
from floatingip.core.model import Carry
from floatingip.core.settings import LIVE, Settings, contradictions
from tests.sim.fleet import Fleet
from tests.sim.misfortunes.machines import revive
from tests.sim.misfortunes.misfortune import End
from tests.sim.worker import Worker

ONE_MORE = IPv4Address("10.0.0.102")


def other_paces(fleet: Fleet, draw: random.Random) -> End:
    """Other values for the settings that may change while observers run: each observer notices them at another time, or
    starts with them.
    """
    before = settings = fleet.settings
    while settings is before or any(contradictions(settings)):
        interval = draw.choice((0.1, 0.25, 1.0))
        settings = replace(
            before,
            probe_interval=interval,
            probe_fast_interval=min(interval, draw.choice((0.05, 0.1, 0.25))),
            rise=draw.randint(1, 5),
            fall=draw.randint(8, 25),
            settle=draw.uniform(20.0, 60.0),
            patience=draw.uniform(30.0, 50.0),
            force_after=draw.uniform(3.0, 10.0),
        )
    fleet.settings = settings
    fleet.tell("", f"every {interval:g} s, rise {settings.rise}, fall {settings.fall}, settle {settings.settle:.0f} s")
    for worker in fleet.workers:
        fleet.after(draw.uniform(0.0, 20.0), partial(_notice, fleet, worker))

    def end() -> None:
        usual = Settings(())
        fleet.settings = replace(fleet.settings, **{name: getattr(usual, name) for name in LIVE})
        for worker in fleet.workers:
            _notice(fleet, worker)

    return end


def _notice(fleet: Fleet, worker: Worker) -> None:
    """The observer of this worker notices what the ConfigMap says now."""
    if worker.observer is not None:
        worker.observer.post(SettingsFound(fleet.settings))


def one_more(fleet: Fleet, draw: random.Random) -> End:
    """One more floating address: all observers or some of them restart with it, one after the other.  In the end all
    restart without it, and somebody releases what is left of it.
    """
    before = fleet.settings.floating_ips
    is_moved = fleet.settings.carry is Carry.ENI
    if ONE_MORE in before or (is_moved and len(before) >= 2 * (len(fleet.workers) - 1)):
        return lambda: None  # There would be no room for another ENI.
    first = draw.random() < 0.5
    fleet.retarget(*((ONE_MORE, *before) if first else (*before, ONE_MORE)))
    ends_at = 0.0
    for worker in draw.sample(fleet.workers, draw.randint(1, len(fleet.workers))):
        ends_at += draw.uniform(0.0, 8.0)
        fleet.after(ends_at, partial(_make_anew, worker))

    def end() -> None:
        fleet.retarget(*(each for each in fleet.settings.floating_ips if each != ONE_MORE))
        for worker in fleet.workers:
            _make_anew(worker)
        for eni in fleet.enis(ONE_MORE):
            if is_moved and eni.attachment is not None:
                fleet.ec2.detach(eni.attachment.id, force=True)
            if is_moved:
                fleet.after(fleet.profile.delays.force_detach + 0.1, partial(fleet.ec2.delete, eni.id))

    return end


def _make_anew(worker: Worker) -> None:
    if worker.observer is not None and not worker.is_hung:
        worker.kill()
        revive(worker)
