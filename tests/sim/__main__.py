"""
Whole agents in simulated time.

    python -m tests.sim --seeds 0..999     play these histories, on all cores; exit code 1 if any has a fault
    python -m tests.sim --trace 7          print one of them
    python -m tests.sim --seeds 0..999 --nemesis     the same with many misfortunes in place of one power cut
    python -m tests.sim --seeds 0..99 --nemesis --rounds 9     and that in nine rounds, minutes apart
    python -m tests.sim --seeds 0..999999 --compiled     in a third of the time, once it is compiled (compiled.py)
    python -m tests.sim --shrink 7         print a faulty one with only the misfortunes that it needs
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from floatingip.cli import Parser
from floatingip.commands.ending import lose_no_interrupt
from lab.command_line import count, end_of
from tests.sim import compiled
from tests.sim.history import Outcome, play, suffer
from tests.sim.quick import begin, quicken
from tests.sim.shrink import shrink


def main(arguments: Sequence[str]) -> int:
    """Play; returns the exit code."""
    parser = Parser(prog="python -m tests.sim", description="Play histories of whole agents.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", type=_seeds, metavar="A..B", help="from A to B")
    what.add_argument("--trace", type=int, metavar="SEED", help="tell the history of one")
    what.add_argument("--shrink", type=int, metavar="SEED", help="tell what is left of one that has a fault")
    parser.add_argument("--nemesis", action="store_true", help="with one misfortune after the other, not one power cut")
    parser.add_argument("--rounds", type=count, default=1, metavar="N", help="so many rounds of them, minutes apart")
    parser.add_argument("--jobs", type=count, metavar="N", help="so many processes; by default one for each core")
    parser.add_argument("--compiled", action="store_true", help="faster: by the simulation compiled, if need be now")
    options = parser.parse_args(arguments)
    if options.compiled and not compiled.is_here():
        try:
            compiled.play(arguments)
        except compiled.MissingError as error:
            print(f"tests.sim: {error}", file=sys.stderr)
            return 1
    if options.shrink is not None:
        return _tell(shrink(options.shrink, options.rounds))
    one = partial(suffer, rounds=options.rounds) if options.nemesis else play
    return _tell(one(options.trace)) if options.trace is not None else _play(one, options.seeds, options.jobs)


def _seeds(text: str) -> range:
    first, _, last = text.partition("..")
    if not (first.isdecimal() and (last or first).isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 0..999")
    if int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"{text!r} ends before it begins; give the smaller one first, as in 0..999")
    return range(int(first), int(last or first) + 1)


def _tell(outcome: Outcome) -> int:
    print("\n".join(outcome.lines))
    for fault in outcome.faults:
        print(f"fault: {fault}")
    return 1 if outcome.faults else 0


def _play(one: Callable[[int], Outcome], seeds: range, jobs: int | None) -> int:
    began, faulty, longest = time.monotonic(), 0, 0.0
    try:
        for outcome in _played(one, seeds, jobs):
            longest = max(longest, outcome.outage)
            for fault in outcome.faults:
                print(f"seed {outcome.seed}: {fault}")
            faulty += bool(outcome.faults)
    except BrokenProcessPool:
        print("tests.sim: a process that played was ended, perhaps for want of memory; try --jobs 1", file=sys.stderr)
        return 1
    seconds = time.monotonic() - began
    print(f"{len(seeds)} histories in {seconds:.0f} s: {faulty} with faults; the longest outage was {longest:.2f} s")
    if faulty:
        print("tell one: python -m tests.sim --trace SEED [--nemesis] [--rounds N], or --shrink SEED [--rounds N]")
    return 1 if faulty else 0


def _played(one: Callable[[int], Outcome], seeds: range, jobs: int | None) -> Iterator[Outcome]:
    """All outcomes, in the order of the seeds.  Raises BrokenProcessPool if one of the processes is ended."""
    pool = ProcessPoolExecutor(jobs, initializer=begin)
    try:
        yield from pool.map(one, seeds, chunksize=8 + len(seeds) // 10_000)
    except BaseException:
        # Nobody waits for what they still play.
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    quicken()
    lose_no_interrupt()
    sys.exit(end_of("tests.sim", lambda: main(sys.argv[1:]), sys.stdout))
