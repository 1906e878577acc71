"""The end of peace: in it an observer judges once a second by time alone, so whatever ends it has to be news."""

from collections.abc import Callable

import pytest

from floatingip.agent import agent as agents
from floatingip.core.model import Carry
from tests.agents.test_leaving import SPOT, holders, observers
from tests.agents.world import Process, World, wait

NEVER = 1e6


def lose_power(world: World, holder: Process) -> None:
    """A probe is lost."""
    world.cut_power(holder)


def announce_the_end(_: World, holder: Process) -> None:
    """The holder's word is another one."""
    holder.machine.notice = SPOT


@pytest.mark.parametrize("carry", Carry)
@pytest.mark.parametrize("end", [lose_power, announce_the_end])
def test_what_ends_the_peace_is_judged_though_no_time_has_come(
    carry: Carry, end: Callable[[World, Process], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standby takes over, and no tick told it to look."""
    with World(carry=carry) as world:
        holder, standby = observers(world)
        monkeypatch.setattr(agents, "CALM_TICK", NEVER)
        end(world, holder)
        wait(lambda: holders(world)[-1] == standby.machine.id, 10, "the standby takes over")
