"""EC2 hangs, in real time: nothing else waits for it.  What agents make of its troubles is for tests/sim."""

from itertools import pairwise

from lab.ec2 import Guest
from tests.agents.world import World, holds_for, wait

DESCRIBE = "DescribeNetworkInterfaces"


def test_a_hanging_describe_does_not_delay_a_probe() -> None:
    """A standby whose question to EC2 hangs until its timeout keeps on probing at its pace."""
    with World() as world:
        holder, standby = world.observers()
        world.ec2.faults.hang({DESCRIBE})
        asked = len(world.calls(DESCRIBE, standby.machine.id))
        holder.machine.guest = Guest.HUNG
        wait(lambda: len(world.calls(DESCRIBE, standby.machine.id)) > asked, 5, "a question that hangs")
        standby.machine.sent.clear()
        holds_for(lambda: standby.runs, 1.5, "the standby runs")
        gaps = [later - earlier for earlier, later in pairwise(standby.machine.sent)]
        assert len(gaps) > 0.8 * 1.5 / world.settings.probe_fast_interval
        assert max(gaps) < 0.6, "a stall as long as that of a busy machine"
