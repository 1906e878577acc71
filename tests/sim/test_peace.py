"""Peace: what it costs, and its end, which is news, since in it an observer judges once a second by time alone."""

from collections import Counter
from ipaddress import IPv4Address

import pytest

from floatingip.core import pace, timing
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.model import Carry
from floatingip.core.node import Notice
from tests.sim.fleet import ADDRESS, INSTANT, NAME, TYPICAL, Fleet
from tests.sim.worker import Worker

NEVER = 1e6


@pytest.mark.parametrize("carry", Carry)
@pytest.mark.parametrize("seed", range(5))
def test_a_lost_probe_is_judged_though_no_time_has_come(
    seed: int, carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as it is known to be lost: no tick told the standby to look, and the holder's word is the same."""
    fleet = Fleet(seed, profile=INSTANT, carry=carry)
    holder, standby = fleet.observers()
    monkeypatch.setattr(timing, "CALM_TICK", NEVER)
    holder.worker.is_mute = True
    known_within = fleet.settings.probe_interval + fleet.settings.probe_timeout + 0.01
    fleet.wait(lambda: standby.reason(ADDRESS) == "PROBE_LOST", known_within, "it is judged")
    holder.worker.cut_power()
    fleet.wait(lambda: fleet.at(ADDRESS) is standby.worker, 2.0, "the standby takes over")


@pytest.mark.parametrize("carry", Carry)
def test_another_word_is_judged_though_no_time_has_come(carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder's node is announced to end."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    holder, standby = fleet.observers()
    monkeypatch.setattr(timing, "CALM_TICK", NEVER)
    holder.worker.notice = Notice("spot instance-action", "terminate soon")
    fleet.wait(lambda: holder.published.status.leaving, 7.0, "the holder says so")
    fleet.wait(lambda: fleet.at(ADDRESS) is standby.worker, 1.0, "the standby takes over")


@pytest.mark.parametrize("carry", Carry)
def test_peace_costs_no_writes_and_one_describe_a_minute(carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a standing ENI on each node, too: nothing is mended that is not broken."""
    fleet = Fleet(1, workers=3, profile=TYPICAL, carry=carry)
    fleet.observers()
    fleet.run(fleet.now + 60)  # the ration's tag, the rehearsal, what is asked less and less after a change
    monkeypatch.setattr(timing, "REHEARSE_EVERY", NEVER)
    before = len(fleet.calls())
    fleet.holds_for(lambda: fleet.serving() is fleet.workers[0], 180, "peace")
    asked = Counter((call.by, call.name) for call in fleet.calls()[before:])
    assert {name for _, name in asked} <= {"describe_enis", "find_occupants"}
    assert all(2 <= asked[worker.name, "describe_enis"] <= 3 for worker in fleet.workers)
    assert len(fleet.stays()) == 1


@pytest.mark.parametrize("carry", Carry)
def test_doubt_that_comes_and_goes_leaves_the_rate_of_calls_to_others(carry: Carry) -> None:
    """Each change is a reason to ask anew, but not without end; and a death is found all the same."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    holder, standby = fleet.observers()
    fleet.run(fleet.now + 60)
    before = len(fleet.calls(by=standby.worker))

    def flicker() -> None:
        holder.worker.is_mute = not holder.worker.is_mute
        fleet.after(0.4, flicker)

    flicker()
    fleet.holds_for(lambda: fleet.at(ADDRESS) is holder.worker, 60, "nothing moves")
    asked = len(fleet.calls(by=standby.worker)) - before
    assert 60 * pace.A_SECOND < asked < pace.AT_ONCE + pace.FOR_EACH + 60 * pace.A_SECOND + 10
    holder.worker.cut_power()
    fleet.wait(lambda: fleet.serving() is standby.worker, 6.0, "the standby takes over")


@pytest.mark.parametrize("count", [1, 50])
def test_peace_costs_one_question_whatever_the_number_of_addresses(count: int) -> None:
    """One for the ENIs, and one for their holders' instances, where no observer answers."""
    addresses = tuple(ADDRESS + number for number in range(count))
    fleet = Fleet(
        1,
        workers=5,
        targets=addresses,
        profile=INSTANT,
        instance_type="m5.24xlarge",
        mark=0x3F0000,
        probe_interval=1.0,
        probe_fast_interval=0.5,
        probe_timeout=0.5,
    )
    me, *holders = fleet.workers
    for number, address in enumerate(addresses):
        give(fleet, holders[number % 4], address)
    observer = me.start()
    fleet.wait(lambda: all(observer.reason(each) == "ANSWERS" for each in addresses), 20, "all are seen UP")
    fleet.run(fleet.now + 60)
    before = len(fleet.calls())
    fleet.run(fleet.now + 130)
    asked = Counter(call.name for call in fleet.calls()[before:] if not call.name.startswith("describe_s"))
    assert asked["describe_enis"] >= 3
    assert asked["describe_instances"] <= asked["describe_enis"]
    assert asked["find_occupants"] <= asked["describe_enis"]
    assert asked["describe_enis"] <= 130 / 15 + 2


def give(fleet: Fleet, worker: Worker, address: IPv4Address) -> None:
    """An ENI of ours with the address is on the worker, where it is carried, without an observer."""
    eni = fleet.cloud.create_eni(address, fleet.subnet, {OWNER_TAG: NAME}, str(address))
    fleet.ec2.attach(eni.id, worker.id, 1 + len(worker.enis()))
    worker.plumbed[address] = eni.mac
