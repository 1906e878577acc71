"""What detection must and must not do, in simulated days and over many phases: find every death, and nothing else."""

from dataclasses import replace

import pytest

from tests.sim.world import HOUR, SETTINGS, Stall, Stalled, World, one_each_hour

DAY = 24
LOSS = 0.01
DETECTION = 1.5
"""Seconds from a holder's death to the decision to take over, at most."""

EAGER = replace(SETTINGS, fall=2)


def detected_after(seed: int, *stalls: Stall, dies_at: float = 100.0) -> float:
    """Seconds from the holder's death to the decision, from a phase of probes and questions by `seed`."""
    world = World(seed, dies_at=dies_at, stalls=stalls)
    world.run(dies_at + 60)
    (at,) = world.takeovers
    return at - dies_at


@pytest.mark.parametrize(
    ("what", "seed"), [(Stalled.HOLDER, 1), (Stalled.PATH, 4), (Stalled.NETWORK, 5), (Stalled.OBSERVER, 6)]
)
def test_a_day_of_lost_probes_and_stalls_moves_nothing(what: Stalled, seed: int) -> None:
    """Every hundredth probe is lost, and for 900 ms of each hour all of them, whatever it is that stands still."""
    world = World(seed, loss=LOSS, stalls=one_each_hour(what, DAY, seed))
    world.run(DAY * HOUR)
    assert world.takeovers == []
    assert world.now == DAY * HOUR
    # What was simulated is what is claimed: a day's probes, more of them in doubt, and the share that was lost.
    assert world.probes >= DAY * HOUR / SETTINGS.probe_interval * 0.999
    assert 0.9 * LOSS < world.lost / world.probes < 1.2 * LOSS


def test_a_stall_of_the_holder_is_no_verdict_in_any_phase() -> None:
    """Two hundred times 900 ms of silence, each in another phase of the probes, and not one of them calls it down."""
    stalls = [Stall(Stalled.HOLDER, 30.0 * n + 10 + 0.0137 * n) for n in range(200)]
    world = World(0, stalls=stalls)
    world.run(6030)
    assert world.lost >= 200 * 3
    assert world.verdicts == []


def test_a_dead_holder_is_found_in_time_in_every_phase() -> None:
    """At most 1.5 s after its death, and never so soon that a stall would have done."""
    spans = [detected_after(seed, dies_at=100 + 0.0137 * seed) for seed in range(300)]
    assert max(spans) <= DETECTION
    assert min(spans) > 1.1
    assert max(spans) - min(spans) > 0.9 * SETTINGS.probe_interval  # the phases were not all the same


def test_a_death_amid_lost_probes_is_found_in_time_as_well() -> None:
    """Those that chance loses before it can only make it sooner."""
    for seed in range(50):
        world = World(seed, loss=0.1, dies_at=100.0)
        world.run(160)
        assert [at <= 100 + DETECTION for at in world.takeovers] == [True]


def test_a_death_during_the_observer_s_own_stall_is_found_in_time_after_it() -> None:
    """What it lost while it did not run is no evidence, so it begins anew."""
    stall = Stall(Stalled.OBSERVER, 99.9, 5.0)
    for seed in range(50):
        assert detected_after(seed, stall) <= stall.ends_at - 100 + DETECTION


@pytest.mark.parametrize("seconds", [1.0, 3.0, 30.0])
def test_an_observer_that_is_cut_off_itself_never_takes_over(seconds: float) -> None:
    """However long: EC2 is cut off too, and its late answer comes before the next probe is lost."""
    stalls = [Stall(Stalled.NETWORK, 200.0 * n + 60 + 0.0137 * n, seconds) for n in range(50)]
    world = World(0, stalls=stalls)
    world.run(10_000)
    assert world.takeovers == []


@pytest.mark.parametrize("seconds", [3.0, 20.0])
def test_a_holder_whose_word_is_heard_is_left_alone(seconds: float) -> None:
    """The probes call the address down each time; but then it is the way to it that fails, and R4 has patience."""
    stalls = [Stall(Stalled.PATH, 200.0 * n + 60 + 0.0137 * n, seconds) for n in range(50)]
    world = World(0, stalls=stalls)
    world.run(10_000)
    assert len(world.verdicts) == 50
    assert world.takeovers == []


def test_an_observer_that_stands_still_never_takes_over() -> None:
    """Nor does what it finds in its sockets afterwards."""
    stalls = [Stall(Stalled.OBSERVER, 200.0 * n + 60 + 0.0137 * n, 10.0) for n in range(100)]
    world = World(0, loss=LOSS, stalls=stalls)
    world.run(20_000)
    assert world.takeovers == []


# That all of this could have failed.


def test_two_lost_probes_would_be_a_false_alarm() -> None:
    """By chance alone many a day, and a takeover as soon as a stall makes the holder silent too."""
    world = World(1, EAGER, loss=LOSS)
    world.run(DAY * HOUR)
    assert len(world.verdicts) > 10
    for seed in range(5):
        world = World(seed, EAGER, loss=LOSS, stalls=one_each_hour(Stalled.HOLDER, DAY, seed))
        world.run(DAY * HOUR)
        assert len(world.takeovers) == 1


def test_a_stall_as_long_as_a_death_is_taken_for_one() -> None:
    """Nobody could tell them apart."""
    for seed in range(20):
        world = World(seed, stalls=[Stall(Stalled.HOLDER, 100.0, 3.0)])
        world.run(200)
        assert [100 < at < 103 for at in world.takeovers] == [True]
