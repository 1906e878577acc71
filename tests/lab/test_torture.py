"""Torture and soak: what is composed, what is judged, what is told, and a short one of each."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest

from floatingip.core.model import Carry
from lab.ec2 import PROFILES
from lab.network.netns import Namespace
from lab.run import census, report
from lab.run.census import TOLERATED, Census, Node
from lab.run.compose import ALONE, APART, BESIDE, STRIKES, Round, compose
from lab.run.kubernetes_scenarios import ALL
from lab.run.rack import Outcome, together
from lab.run.soak import Soak
from lab.run.torture import WORKERS, Torture
from lab.run.verdict import Expectation

MANY = 500
"""Rounds: each misfortune comes up some times."""

INSTANT = PROFILES["instant"]
BARE = Expectation(scenario="", ec2="instant", address="10.0.0.100")
TORTURE = Torture(INSTANT, minutes=30.0, seed=5, carry=Carry.ENI)


def rounds(seed: int) -> list[Round]:
    """The first ones of this seed."""
    return list(islice(compose(seed), MANY))


def outcome(number: int = 1, *names: str, outage_s: float = 2.0, faults: tuple[str, ...] = ()) -> Outcome:
    """Of a round of these misfortunes."""
    each = Round(number, names or ("power-cut",), 1.0)
    return Outcome(each, at=0.0, moves=1, outage_s=outage_s, source="worker-a", holder="worker-b", faults=faults)


# What is composed.


def test_a_seed_is_one_sequence() -> None:
    """A fault can be seen again; another seed is another sequence."""
    assert rounds(1) == rounds(1)
    assert rounds(1) != rounds(2)


def test_all_misfortunes_are_tried_about_as_often() -> None:
    """In a long run none is left out."""
    tried = Counter(each.names[-1] for each in rounds(3))
    struck = [tried[name] for name in STRIKES]
    assert min(struck) > 0
    assert max(struck) - min(struck) <= 1
    assert all(tried[name] for name in ALONE)
    beside = Counter(name for each in rounds(3) for name in each.names[:-1])
    assert set(beside) == set(BESIDE)


def test_the_last_of_several_is_about_the_holder_and_the_others_go_with_it() -> None:
    """What ends or stops what another counts on is never beside it."""
    several = [each for each in rounds(4) if len(each.names) > 1]
    assert several
    for each in several:
        *others, strike = each.names
        assert strike in STRIKES
        assert len(set(others)) == len(others)
        assert all(name in BESIDE and (name, strike) not in APART for name in others)


def test_every_misfortune_is_a_scenario_that_any_region_can_have() -> None:
    """They are reused as they are: what needs settings, a setup or a time before the deployment has no place here."""
    for name in (*BESIDE, *ALONE, *STRIKES):
        scenario = ALL[name]
        assert (scenario.settings, scenario.environment, scenario.prepare, scenario.attack) == ({}, {}, None, ""), name
        assert scenario.workers <= WORKERS, name


def test_what_is_beside_or_alone_moves_nothing_by_itself() -> None:
    """So a move in its round is a fault."""
    for name in (*BESIDE, *ALONE):
        assert ALL[name].expect(BARE, INSTANT).max_moves == 0, name


# What is judged.


def test_what_several_may_show_is_added_up() -> None:
    """A power cut beside a flapping link: one move, and both outages."""
    alone, beside = (ALL[name].expect(BARE, INSTANT) for name in ("power-cut", "link-flap"))
    both = together(BARE, INSTANT, [ALL["link-flap"], ALL["power-cut"]])
    assert (both.min_moves, both.max_moves) == (1, 1)
    assert alone.max_outage_s is not None
    assert beside.max_outage_s is not None
    assert both.max_outage_s is not None
    assert both.max_outage_s > alone.max_outage_s + beside.max_outage_s
    calm = together(BARE, INSTANT, [ALL["pod-delete"]])
    assert (calm.max_moves, calm.max_outage_s) == (0, 0.0)


def test_only_what_is_about_time_is_excused_by_a_busy_machine() -> None:
    """Two holders are two holders on any machine."""
    late, unsafe = "an outage of 9.00 s, at most 8 s is allowed", "two holders: x (i-a) began before y (i-b)"
    busy = replace(outcome(faults=(late,)), starved_s=2.0)
    assert busy.undecided
    assert not replace(busy, starved_s=0.1).undecided
    assert not replace(busy, faults=(late, unsafe)).undecided
    assert not replace(busy, faults=()).undecided


# What is left.


@pytest.fixture
def quiet_census() -> Census:
    """A holder and a standby with what they have in peace."""
    counts = {"memory": 60_000, "threads": 9, "rules": 9}
    nodes = Node("worker-a", True, 1, {**counts, "rules": 10}), Node("worker-b", False, 2, counts)
    return Census(nodes, {"interfaces": 4})


def test_nothing_more_is_no_leak(quiet_census: Census) -> None:
    """Nor is what is tolerated, nor that another node is the holder now."""
    holder, standby = quiet_census.nodes
    swapped = (
        replace(holder, is_holder=False, counts=standby.counts),
        replace(standby, is_holder=True, counts={**holder.counts, "memory": 60_000 + TOLERATED["memory"]}),
    )
    assert census.leaks(quiet_census, replace(quiet_census, nodes=swapped)) == ()


@pytest.mark.parametrize(("what", "more"), [("memory", TOLERATED["memory"] + 1), ("threads", 3), ("rules", 1)])
def test_more_on_a_node_is_a_leak(quiet_census: Census, what: str, more: int) -> None:
    """A standby that has what only a holder may have is one, too."""
    holder, standby = quiet_census.nodes
    leaky = replace(standby, counts={**standby.counts, what: standby.counts[what] + more})
    [leak] = census.leaks(quiet_census, replace(quiet_census, nodes=(holder, leaky)))
    assert "worker-b, a standby" in leak
    assert what in leak


def test_more_in_ec2_is_a_leak(quiet_census: Census) -> None:
    """An interface that nobody deletes costs an address."""
    [leak] = census.leaks(quiet_census, replace(quiet_census, ec2={"interfaces": 5}))
    assert leak == "EC2: 5 interfaces, 4 before"


@pytest.mark.parametrize(
    ("what", "plant"),
    [
        ("rules", lambda near: near.ip("rule add priority 31000 lookup main")),
        ("rules", lambda near: near.ip6("rule add priority 31000 lookup main")),
        ("routes", lambda near: near.ip("route add blackhole 192.0.2.0/24 table 31000")),
        ("addresses", lambda near: near.ip("address add 192.0.2.1/32 dev lo")),
        ("links", lambda near: near.ip("link add planted type veth peer name planted-end")),
        ("nft objects", lambda near: near.nft("table inet planted { chain c { }\n}\n")),
    ],
    ids=["rule", "rule-ipv6", "route", "address", "link", "nft"],
)
def test_what_is_planted_in_a_kernel_is_found(near: Namespace, what: str, plant: Callable[[Namespace], None]) -> None:
    """By the count that it belongs to."""

    def taken() -> Census:
        return Census((Node("near", False, 1, census.kernel(near)),), {})

    before = taken()
    plant(near)
    assert any(what in leak for leak in census.leaks(before, taken()))


# What is told.


def test_a_report_names_faults_with_what_it_takes_to_see_them_again() -> None:
    """Time, seed and round; and the outages of each kind."""
    told = report.torture(
        TORTURE,
        [outcome(1, outage_s=1.0), outcome(2, outage_s=3.0), outcome(7, "loss", "handover", faults=("two holders",))],
        90.0,
        ALL,
    )
    assert "3 rounds, 4 misfortunes, 3 moves, **1 fault**, none undecided" in told
    assert "| `power-cut`: the holder loses power | 2 | 2 | 2.00 s | 3.00 s |" in told
    assert "1970-01-01 00:00:00Z, round 7, loss + handover" in told
    assert "python -m lab torture --minutes 30 --seed 5 --carry eni --ec2 instant --first 7" in told
    assert "two holders" in told


def test_a_report_takes_the_place_of_the_one_before() -> None:
    """One document has both ways to carry; what stands above them stays."""
    first = report.put("# Torture\n\nWhat it is.\n", "`carry: eni`", "old\n")
    both = report.put(first, "`carry: address`", "other\n")
    assert report.put(both, "`carry: eni`", "new\n") == (
        "# Torture\n\nWhat it is.\n\n## `carry: eni`\n\nnew\n\n## `carry: address`\n\nother\n"
    )


# Short ones.


@pytest.mark.long
@pytest.mark.parametrize("carry", list(Carry))
def test_a_short_torture_finds_nothing(in_sandbox: None, carry: Carry) -> None:
    """Some rounds of a seed, one of which has several misfortunes at a time."""
    told: list[Outcome] = []
    torture = Torture(INSTANT, minutes=1.0, seed=2, carry=carry)
    outcomes = torture.run(told.append)
    assert outcomes == told
    assert outcomes
    assert [one.faults for one in outcomes if not one.ok and not one.undecided] == []


@pytest.mark.long
@pytest.mark.parametrize("carry", list(Carry))
def test_a_short_soak_leaves_nothing(in_sandbox: None, carry: Carry) -> None:
    """Three failovers; the last is there as the first."""
    found = Soak(INSTANT, minutes=None, failovers=3, seed=1, carry=carry).run(lambda _: None)
    assert found.ok, [found.leaks, *(one.faults for one in found.failovers)]
    assert len(found.failovers) == sum(one.moves for one in found.failovers) == 3
    assert "3 failovers, **no faults, no leaks**" in report.soak(Soak(INSTANT, None, 3, 1, carry), found)
