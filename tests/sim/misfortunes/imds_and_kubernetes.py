"""What goes wrong with IMDS and the API server."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

from tests.sim.fleet import Fleet
from tests.sim.misfortunes.misfortune import End, some, some_or_all
from tests.sim.worker import LIVING, Worker

KUBELETS_TELL_EVERY = 10.0
"""Seconds between two reports of a kubelet."""


def silent_imds(fleet: Fleet, draw: random.Random) -> End:
    worker = some(fleet, draw)
    worker.is_imds_silent = True

    def end() -> None:
        worker.is_imds_silent = False

    return end


def late_imds(fleet: Fleet, draw: random.Random) -> End:
    lag = draw.uniform(1.0, 20.0)
    for worker in fleet.workers:
        worker.imds_lag = lag

    def end() -> None:
        for worker in fleet.workers:
            worker.imds_lag = 0.0

    return end


def silent_api_server(fleet: Fleet, draw: random.Random) -> End:
    """The API server does not answer one worker, or all."""
    workers = some_or_all(fleet, draw)
    for worker in workers:
        worker.pod = None

    def end() -> None:
        for worker in workers:
            worker.pod = LIVING

    return end


def failing_api_server(fleet: Fleet, draw: random.Random) -> End:
    """The API server answers one worker or all with an error: its store is gone, or it denies the question."""
    workers = some_or_all(fleet, draw)
    for worker in workers:
        worker.api_server_fails = True

    def end() -> None:
        for worker in workers:
            worker.api_server_fails = False

    return end


def written_off(fleet: Fleet, draw: random.Random) -> End:
    workers = some_or_all(fleet, draw)
    fleet.tell("", f"Kubernetes writes off {', '.join(worker.name for worker in workers)}")
    for worker in workers:
        worker.pod = replace(LIVING, ready=False)

    def end() -> None:
        for worker in workers:
            worker.pod = LIVING

    return end


def kubelets_unheard(fleet: Fleet, draw: random.Random) -> End:
    """The control plane hears of no kubelet: within ten seconds it writes all nodes off, one by one, and afterwards
    takes them back in the same way.
    """
    ended: list[bool] = []

    def write_off(worker: Worker) -> None:
        if not ended:
            worker.pod = replace(LIVING, ready=False)

    def take_back(worker: Worker) -> None:
        worker.pod = LIVING

    for worker in fleet.workers:
        fleet.after(draw.uniform(0.0, KUBELETS_TELL_EVERY), partial(write_off, worker))
    delays = [draw.uniform(0.0, KUBELETS_TELL_EVERY) for _ in fleet.workers]

    def end() -> None:
        ended.append(True)
        for worker, delay in zip(fleet.workers, delays, strict=False):
            fleet.after(delay, partial(take_back, worker))

    return end


def stale_api_server(fleet: Fleet, draw: random.Random) -> End:
    """The API server shows one observer or all their pods as they were when this began, whatever has happened to them
    since.
    """
    workers = some_or_all(fleet, draw)
    for worker in workers:
        worker.pod_before = worker.pod

    def end() -> None:
        for worker in workers:
            worker.pod_before = None

    return end


def holder_written_off(fleet: Fleet, draw: random.Random) -> End:
    """Any worker that holds an address is written off as long as it does, and the others are not: so a move does not
    help.
    """
    ended: list[bool] = []

    def write_off() -> None:
        if not ended:
            for worker in fleet.workers:
                holds = any(map(worker.carries, worker.plumbed))
                worker.pod = replace(LIVING, ready=False) if holds else LIVING
            fleet.after(0.5, write_off)

    def end() -> None:
        ended.append(True)
        for worker in fleet.workers:
            worker.pod = LIVING

    fleet.after(0.0, write_off)
    return end
