"""What goes wrong with observers, and with the machines that they run on."""

from __future__ import annotations

import random
from functools import partial

from floatingip.core.node import Notice
from tests.sim.fleet import Fleet
from tests.sim.line import Call, Killed, nothing
from tests.sim.misfortunes.ec2 import MOVING, denied
from tests.sim.misfortunes.misfortune import End, over, some, some_or_all
from tests.sim.worker import Worker


def revive(worker: Worker) -> None:
    if worker.is_on and worker.observer is None:
        worker.start()
        if worker.is_hung:
            worker.pause()


def killed(fleet: Fleet, draw: random.Random) -> End:
    worker = some(fleet, draw)
    worker.kill()
    return lambda: revive(worker)


def killed_again_and_again(fleet: Fleet, draw: random.Random) -> End:
    """Every few seconds an observer, chosen at random, is killed; it starts again within a second."""
    ended: list[bool] = []

    def kill() -> None:
        if not ended:
            worker = fleet.chance.choice(fleet.workers)
            worker.kill()
            fleet.after(fleet.chance.uniform(0.0, 1.0), lambda: revive(worker))
            fleet.after(fleet.chance.expovariate(1 / 3), kill)

    kill()
    return lambda: ended.append(True)


def _kill(fleet: Fleet, call: Call) -> None:
    """Kill the observer that makes the call; it starts again a second later."""
    worker = next(worker for worker in fleet.workers if worker.name == call.by)
    worker.kill()
    fleet.after(1.0, lambda: revive(worker))
    raise Killed


def killed_at_a_write(fleet: Fleet, draw: random.Random) -> End:
    """An observer is killed when EC2 has accepted its call that moves something, before it gets the answer."""
    return fleet.at_calls(*MOVING, after=partial(_kill, fleet), most=draw.choice((1, 3))).end


def killed_during_a_move(fleet: Fleet, draw: random.Random) -> End:
    """During a move an observer is killed at any of its calls to EC2: before the call is made, or when its answer
    comes.
    """
    when, kill = draw.choice(("before", "after")), partial(_kill, fleet)
    before, after = (kill, nothing) if when == "before" else (nothing, kill)
    ends: list[End] = []

    def lie_in_wait() -> None:
        if any(fleet.serving(target) is None for target in fleet.settings.floating_ips):
            ends.append(fleet.at_calls(before=before, after=after, spared=draw.randint(0, 9), most=2).end)
        if not ends:
            fleet.after(0.1, lie_in_wait)

    def end() -> None:
        ends.append(lambda: None)
        over(*ends)()

    lie_in_wait()
    return end


def paused(fleet: Fleet, draw: random.Random) -> End:
    worker = some(fleet, draw)
    worker.pause()
    return worker.resume


def stands_still_during_a_move(fleet: Fleet, draw: random.Random) -> End:
    """During a move an observer, or its whole machine, stands still between two steps: it has decided to ask EC2 or to
    write, and has not done so yet.
    """
    spared, stand = draw.randint(0, 9), draw.choice((Worker.pause, Worker.hang))
    ends: list[End] = []

    def begin(worker: Worker, _what: str) -> None:
        nonlocal spared
        if all(fleet.serving(target) is not None for target in fleet.settings.floating_ips):
            return
        spared -= 1
        if spared < 0:
            fleet.beginning.remove(begin)
            stand(worker)
            ends.append(worker.thaw if worker.is_hung else worker.resume)

    def end() -> None:
        if begin in fleet.beginning:
            fleet.beginning.remove(begin)
        over(*ends)()

    fleet.beginning.append(begin)
    return end


def stalls(fleet: Fleet, draw: random.Random) -> End:
    """An observer is paused again and again, each time for less than a second."""
    worker, ended = some(fleet, draw), list[bool]()

    def stall() -> None:
        if not ended:
            worker.pause()
            fleet.after(fleet.chance.uniform(0.1, 0.9), worker.resume)
            fleet.after(fleet.chance.uniform(1.2, 3.0), stall)

    stall()
    return over(lambda: ended.append(True), worker.resume)


def hung(fleet: Fleet, draw: random.Random) -> End:
    worker = some(fleet, draw)
    worker.hang()
    return worker.thaw


def boot(worker: Worker) -> None:
    """Give a worker its power back if it has none, and start its observer; not if EC2 has ended its instance."""
    if not worker.is_on and not worker.is_ended:
        worker.boot()
        worker.start()


def powerless(fleet: Fleet, draw: random.Random) -> End:
    worker = some(fleet, draw)
    worker.cut_power()
    return partial(boot, worker)


def powerless_and_denied(fleet: Fleet, draw: random.Random) -> End:
    """The holder of an address loses power, then IAM denies an action to one worker or all.  The denial ends first."""
    holder, ends = fleet.at(draw.choice(fleet.settings.floating_ips)), list[End]()
    if holder is not None and holder.is_on and not holder.is_ended:
        holder.cut_power()
    fleet.after(draw.uniform(0.0, 8.0), lambda: ends.append(denied(fleet, draw)))

    def allow() -> None:
        over(*ends)()

    def end() -> None:
        allow()
        if holder is not None:
            boot(holder)

    fleet.after(draw.uniform(10.0, 60.0), allow)
    return end


def terminated(fleet: Fleet, draw: random.Random) -> End:
    """EC2 terminates a worker for good, if at least two others are left; its node shuts down gracefully or not."""
    living = [worker for worker in fleet.workers if not worker.is_ended]
    grace = draw.choice((0.0, draw.uniform(0.0, 20.0)))
    if len(living) > 2:
        draw.choice(living).terminate(min(grace, fleet.profile.delays.release))
    return lambda: None


def stopped(fleet: Fleet, draw: random.Random) -> End:
    """EC2 stops a worker, unless it is the last one.  Later it is started again, with the interfaces that are attached
    to it then.
    """
    living = [worker for worker in fleet.workers if not worker.is_ended]
    if len(living) < 2:
        return lambda: None
    worker = draw.choice(living)
    worker.stop(draw.choice((0.0, draw.uniform(0.0, 15.0))))

    def start() -> None:
        fleet.ec2.start(worker.id)
        worker.boot()
        revive(worker)

    return start


def rebooted(fleet: Fleet, draw: random.Random) -> End:
    """A graceful reboot: the observer gets SIGTERM some time before the machine is off; the machine comes back with its
    interfaces.
    """
    worker = some(fleet, draw)
    fleet.tell(worker.name, "is rebooted")
    if worker.observer is not None:
        worker.observer.stop()
    fleet.after(draw.uniform(0.0, 15.0), lambda: worker.cut_power() if not worker.is_ended else None)
    return partial(boot, worker)


def all_powerless(fleet: Fleet, draw: random.Random) -> End:
    """All workers lose power at once; they come back one after the other, with what is attached to them."""
    for worker in fleet.workers:
        if worker.is_on:
            worker.cut_power()
    order = draw.sample(fleet.workers, len(fleet.workers))
    delays = sorted(draw.uniform(0.0, 8.0) for _ in order)

    def end() -> None:
        for worker, delay in zip(order, delays, strict=True):
            fleet.after(delay, partial(boot, worker))

    return end


def two_in_a_row(fleet: Fleet, draw: random.Random) -> End:
    """The holder of an address loses power, and within two seconds so does the next holder."""
    return _in_a_row(fleet, draw, 2, 2.0)


def one_after_the_other(fleet: Fleet, draw: random.Random) -> End:
    """As `two_in_a_row`, until one worker is left: each dies before it serves the address, or some time after."""
    return _in_a_row(fleet, draw, len(fleet.workers) - 1, draw.choice((2.0, 25.0)))


def _in_a_row(fleet: Fleet, draw: random.Random, most: int, apart: float) -> End:
    target, left = draw.choice(fleet.settings.floating_ips), [most]

    def strike() -> None:
        holder = fleet.at(target)
        if left[0] and holder is not None and holder.is_on and not holder.is_ended:
            left[0] -= 1
            holder.cut_power()
        if left[0]:
            fleet.after(draw.uniform(0.1, apart), strike)

    def end() -> None:
        left[0] = 0
        for worker in fleet.workers:
            boot(worker)

    strike()
    return end


def announced(fleet: Fleet, draw: random.Random) -> End:
    """IMDS announces a worker's end, but it does not end."""
    worker = some(fleet, draw)
    worker.notice = Notice("spot", "terminate")

    def end() -> None:
        worker.notice = None

    return end


def without_pings(fleet: Fleet, draw: random.Random) -> End:
    worker = some(fleet, draw)
    worker.drops_pings = True

    def end() -> None:
        worker.drops_pings = False

    return end


def without_node_ports(fleet: Fleet, draw: random.Random) -> End:
    workers = some_or_all(fleet, draw)
    for worker in workers:
        worker.serves = False

    def end() -> None:
        for worker in workers:
            worker.serves = True

    return end


def without_devices(fleet: Fleet, draw: random.Random) -> End:
    workers = some_or_all(fleet, draw)
    for worker in workers:
        worker.hides_devices = True
    return over(*(worker.show_devices for worker in workers))


def one_endpoint(fleet: Fleet, draw: random.Random) -> End:
    """NodePorts answer on one worker only; now and then their only pod moves to another worker."""
    ended = list[bool]()

    def move() -> None:
        if not ended:
            there = some(fleet, fleet.chance)
            for worker in fleet.workers:
                worker.serves = worker is there
            fleet.tell(there.name, "NodePorts answer here only")
            fleet.after(fleet.chance.uniform(3.0, 40.0), move)

    def end() -> None:
        ended.append(True)
        for worker in fleet.workers:
            worker.serves = True

    move()
    return end


def late_node_ports(fleet: Fleet, draw: random.Random) -> End:
    """NodePorts answer late at an address that has just come, as if kube-proxy learned of it by its next sync; at
    workers' own addresses they answer as ever.
    """
    workers, lag = some_or_all(fleet, draw), draw.uniform(3.0, 35.0)
    for worker in workers:
        worker.syncs_after, worker.came_at = lag, {}  # the addresses that are there already answer at once

    def end() -> None:
        for worker in workers:
            worker.syncs_after = 0.0

    return end


def late_devices(fleet: Fleet, draw: random.Random) -> End:
    """On one worker or all, hot-plugged devices appear at about the time when they are given up, or later."""
    workers, takes = some_or_all(fleet, draw), draw.uniform(5.0, 30.0)
    fleet.tell("", f"for {', '.join(worker.name for worker in workers)}: after {takes:.1f} s")
    for worker in workers:
        worker.device_takes = takes

    def end() -> None:
        for worker in workers:
            worker.device_takes = None
            worker.show_devices()

    return end


def devices_come_and_go(fleet: Fleet, draw: random.Random) -> End:
    """On one worker, the devices of our interfaces vanish and come back, every few seconds."""
    worker, ended = some(fleet, draw), list[bool]()

    def go() -> None:
        if not ended and worker.is_on:
            fleet.tell(worker.name, "its devices are gone")
            worker.hides_devices = True
            for mac in sorted(worker.devices):
                worker.unplug(mac)
            fleet.after(fleet.chance.choice((0.3, 3.0, 30.0)) * fleet.chance.random(), come)

    def come() -> None:
        worker.show_devices()
        if not ended:
            fleet.after(fleet.chance.uniform(0.1, 10.0), go)

    go()
    return over(lambda: ended.append(True), worker.show_devices)


def blind(fleet: Fleet, draw: random.Random) -> End:
    """Probes would not leave the worker: the address is on another link too, such as kube-proxy's, or a route leads
    elsewhere.
    """
    workers = some_or_all(fleet, draw)
    for worker in workers:
        worker.turn_blind("the address is on kube-ipvs0, too")
    return over(*(partial(worker.turn_blind, "") for worker in workers))


def interrupted(fleet: Fleet, draw: random.Random) -> End:
    """IMDS announces the end of one machine or all; then one of them is terminated, and the others are not."""
    workers = some_or_all(fleet, draw)
    for worker in workers:
        worker.notice = Notice("spot", "terminate")
    ends, grace = draw.choice(workers), draw.choice((0.0, draw.uniform(0.0, 20.0)))

    def terminate() -> None:
        if sum(not worker.is_ended for worker in fleet.workers) > 2 and not ends.is_ended:
            ends.terminate(min(grace, fleet.profile.delays.release))

    def end() -> None:
        for worker in workers:
            worker.notice = None

    fleet.after(draw.uniform(0.0, 15.0), terminate)
    return end


def mute(fleet: Fleet, draw: random.Random) -> End:
    worker = some(fleet, draw)
    fleet.tell(worker.name, "its floating addresses reach nobody")
    worker.is_mute = True

    def end() -> None:
        worker.is_mute = False

    return end


def mute_in_a_row(fleet: Fleet, draw: random.Random) -> End:
    """The holder of an address reaches nobody by its floating addresses, and neither may the next holder.  Meanwhile
    all observers may be restarted at once.
    """
    target, left, ended = draw.choice(fleet.settings.floating_ips), [draw.randint(1, 2)], list[bool]()

    def strike() -> None:
        holder = fleet.at(target)
        if left[0] and holder is not None and not holder.is_mute:
            left[0] -= 1
            fleet.tell(holder.name, "its floating addresses reach nobody")
            holder.is_mute = True
        if left[0]:
            fleet.after(0.5, strike)

    def restart() -> None:
        for worker in fleet.workers:
            if worker.observer is not None and not worker.is_hung and not ended:
                worker.kill()
                fleet.after(draw.uniform(0.5, 5.0), partial(revive, worker))

    def end() -> None:
        left[0] = 0
        ended.append(True)
        for worker in fleet.workers:
            worker.is_mute = False

    strike()
    if draw.random() < 0.5:
        fleet.after(draw.uniform(20.0, 70.0), restart)
    return end


def broken_kernel(fleet: Fleet, draw: random.Random) -> End:
    workers = some_or_all(fleet, draw)
    for worker in workers:
        worker.break_kernel("nft: not found", answers=draw.random() < 0.5)
    return over(*(worker.mend_kernel for worker in workers))


def wall_clock_jumps(fleet: Fleet, draw: random.Random) -> End:
    """The wall clock of one worker or all jumps, once or again and again: back to 1970, by a minute or a day, or ten
    years ahead.
    """
    workers, ended = some_or_all(fleet, draw), list[bool]()
    jumps = (-fleet.wall, -86_400.0, -60.0, 60.0, 86_400.0, 10 * 365 * 86_400.0)
    apart = draw.choice((3600.0, draw.uniform(0.5, 5.0)))

    def jump() -> None:
        if not ended:
            for worker in workers:
                worker.wall_ahead = fleet.chance.choice(jumps)
                fleet.tell(worker.name, f"its wall clock is wrong by {worker.wall_ahead:g} s")
            fleet.after(apart, jump)

    def end() -> None:
        ended.append(True)
        for worker in workers:
            worker.wall_ahead = 0.0

    jump()

    return end
