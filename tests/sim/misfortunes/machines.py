"""What befalls observers, and the machines that they run on."""

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
    """By chance, every few seconds, some of them, and they start at once."""
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
    """Whoever makes the call; it starts anew a second later."""
    worker = next(worker for worker in fleet.workers if worker.name == call.by)
    worker.kill()
    fleet.after(1.0, lambda: revive(worker))
    raise Killed


def killed_at_a_write(fleet: Fleet, draw: random.Random) -> End:
    """As EC2 takes a call that moves something; the answer is for nobody."""
    return fleet.at_calls(*MOVING, after=partial(_kill, fleet), most=draw.choice((1, 3))).end


def killed_during_a_move(fleet: Fleet, draw: random.Random) -> End:
    """Between any two of its calls to EC2, of whatever kind: before one is made, or as its answer comes."""
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
    """Between two steps: when it has decided to ask EC2 or to write, and has not yet; or the whole machine does."""
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
    """Pauses of less than a second, one after the other."""
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
    """It has power again, if it lacks it; unless EC2 has ended it."""
    if not worker.is_on and not worker.is_ended:
        worker.boot()
        worker.start()


def powerless(fleet: Fleet, draw: random.Random) -> End:
    worker = some(fleet, draw)
    worker.cut_power()
    return partial(boot, worker)


def powerless_and_denied(fleet: Fleet, draw: random.Random) -> End:
    """The holder of an address loses power, and then IAM denies an action to one of the others or all; that is mended
    first.
    """
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
    """For good, unless it is the last but one; its node's end is graceful, or is not."""
    living = [worker for worker in fleet.workers if not worker.is_ended]
    grace = draw.choice((0.0, draw.uniform(0.0, 20.0)))
    if len(living) > 2:
        draw.choice(living).terminate(min(grace, fleet.profile.delays.release))
    return lambda: None


def stopped(fleet: Fleet, draw: random.Random) -> End:
    """By EC2, unless it is the last; it is started again, with the interfaces that it has then."""
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
    """Gracefully: the observer gets SIGTERM some time before all ends; it comes back with its interfaces."""
    worker = some(fleet, draw)
    fleet.tell(worker.name, "is rebooted")
    if worker.observer is not None:
        worker.observer.stop()
    fleet.after(draw.uniform(0.0, 15.0), lambda: worker.cut_power() if not worker.is_ended else None)
    return partial(boot, worker)


def all_powerless(fleet: Fleet, draw: random.Random) -> End:
    """All at once; they come back one after the other, and find what they had."""
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
    """The holder of an address loses power; and whoever gets it next, within two seconds."""
    return _in_a_row(fleet, draw, 2, 2.0)


def one_after_the_other(fleet: Fleet, draw: random.Random) -> End:
    """So do all but one, each before it has the address, or some time after."""
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
    """By IMDS; but nothing comes of it."""
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
    """NodePorts answer on one worker only, and now and then on another one instead, as their only pod moves."""
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
    """At an address that has just come, as where kube-proxy learns of it by its next sync; not at the workers' own."""
    workers, lag = some_or_all(fleet, draw), draw.uniform(3.0, 35.0)
    for worker in workers:
        worker.syncs_after, worker.came_at = lag, {}  # what was there before is known

    def end() -> None:
        for worker in workers:
            worker.syncs_after = 0.0

    return end


def late_devices(fleet: Fleet, draw: random.Random) -> End:
    """They are seen about when they are given up, or after that."""
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
    """Those of our interfaces at one worker, every few seconds."""
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
    """Probes would not leave: the address is on another link, as on a Service's, or a route leads it elsewhere."""
    workers = some_or_all(fleet, draw)
    for worker in workers:
        worker.turn_blind("the address is on kube-ipvs0, too")
    return over(*(partial(worker.turn_blind, "") for worker in workers))


def interrupted(fleet: Fleet, draw: random.Random) -> End:
    """The end of one machine or of all is announced; then one is terminated, and the others are not after all."""
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
    """Whoever has an address reaches nobody from there; nor does whoever gets it next.  Meanwhile observers may be
    restarted, all at once.
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
    """Once, or again and again, of one worker or of all; to the years before it was set, or to those to come."""
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
