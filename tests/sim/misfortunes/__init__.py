"""What can befall a fleet: each misfortune lasts for a while and is over then, but for a machine that is terminated."""

from __future__ import annotations

from floatingip.core import pace
from floatingip.core.timing import LOOK_IN_PEACE, NOTICE_EVERY, PEACE_JITTER, REHEARSE_AGAIN
from tests.sim.misfortunes import ec2, imds_and_kubernetes, machines, network, operators
from tests.sim.misfortunes.misfortune import Misfortune

NOTICED_IN_PEACE = LOOK_IN_PEACE + PEACE_JITTER
"""Seconds until EC2 is asked again where nothing else tells of a change."""

MISFORTUNES = (
    Misfortune("two workers are parted", network.partition),
    Misfortune("something is lost between two workers", network.part_of_it_lost),
    Misfortune("the security group is closed", network.closed_group, longest=15.0),
    Misfortune("a worker is cut off", network.cut_off),
    Misfortune("packets are lost", network.loss, longest=90.0),
    Misfortune("packets are late", network.delay, longest=90.0),
    Misfortune("EC2 is not reached", ec2.without_ec2),
    Misfortune("EC2 throttles", ec2.throttled),
    Misfortune("answers to writes are lost", ec2.lost_answers, longest=10.0),
    Misfortune("calls to EC2 hang", ec2.hanging_calls),
    Misfortune("Describes are late", ec2.late_describes),
    Misfortune("Describes omit an interface", ec2.omitted_interface, longest=8.0, leaves_orphans=True),
    Misfortune("EC2 is slow", ec2.slow_answers),
    Misfortune("detaches are stuck", ec2.stuck_detaches),
    Misfortune("an observer is killed", machines.killed, longest=10.0),
    Misfortune("observers are killed again and again", machines.killed_again_and_again),
    Misfortune("an observer is killed at its next write", machines.killed_at_a_write),
    Misfortune("an observer is killed during a move", machines.killed_during_a_move),
    Misfortune("an observer stands still", machines.paused, longest=10.0),
    Misfortune("an observer stalls", machines.stalls),
    Misfortune("a machine hangs", machines.hung),
    Misfortune("a machine is without power", machines.powerless, shortest=5.0),
    Misfortune("a machine is rebooted", machines.rebooted, shortest=20.0, longest=40.0),
    Misfortune("all machines are without power", machines.all_powerless, shortest=5.0, noticed=8.0),
    Misfortune("two machines lose power in a row", machines.two_in_a_row, shortest=5.0, longest=90.0),
    Misfortune("a machine is terminated", machines.terminated, shortest=20.0),
    Misfortune("a worker is mute", machines.mute, longest=120.0),
    Misfortune("the kernel does not do as it is told", machines.broken_kernel),
    Misfortune("a wall clock jumps", machines.wall_clock_jumps),
    Misfortune("IMDS is silent", imds_and_kubernetes.silent_imds),
    Misfortune("IMDS is late", imds_and_kubernetes.late_imds),
    Misfortune("the API server is silent", imds_and_kubernetes.silent_api_server),
    Misfortune("nodes are written off", imds_and_kubernetes.written_off),
    Misfortune("whoever holds it is written off", imds_and_kubernetes.holder_written_off, shortest=40.0, longest=90.0),
    Misfortune("somebody detaches an interface", operators.detached_by_hand),
    Misfortune("somebody moves an address", operators.moved_by_hand),
    Misfortune("somebody unassigns addresses", operators.unassigned_by_hand, leaves_orphans=True),
    Misfortune("somebody deletes an observer's pod", machines.deleted_pod, shortest=12.0),
    Misfortune("somebody deletes an interface", operators.deleted_by_hand),
    Misfortune("IAM denies something", ec2.denied, shortest=5.0, longest=90.0, noticed=REHEARSE_AGAIN),
    Misfortune("a machine is stopped and started", machines.stopped, shortest=20.0, longest=60.0),
    Misfortune("the end of a machine is announced", machines.announced, noticed=NOTICE_EVERY),
    Misfortune("pings are dropped", machines.without_pings),
    Misfortune("NodePorts do not answer", machines.without_node_ports, shortest=10.0),
    Misfortune("devices do not come", machines.without_devices, longest=60.0),
    Misfortune("somebody orders a handover", operators.handed_over),
    Misfortune("somebody pauses all moves", operators.moves_paused, shortest=10.0, longest=60.0, noticed=pace.SLOWEST),
    Misfortune("somebody disassociates an Elastic IP", operators.disassociated_by_hand, noticed=NOTICED_IN_PEACE),
    Misfortune("somebody retags an interface", operators.retagged, noticed=NOTICED_IN_PEACE, leaves_one=True),
)
