"""What is reported by a node whose clock differs from that of whoever looks."""

from __future__ import annotations

from dataclasses import replace

from floatingip.core.decision.carry import way_to
from floatingip.core.model import Carry
from floatingip.core.report import AddressReport, Report

CLOCKS_DIFFER = 20.0
"""Seconds from which on two nodes' clocks differ, as for the alert of that name: less may come of the time that a
report takes to get here.
"""

SEEN_THERE = {str(carry): way_to(carry).has_standing_enis for carry in Carry}
"""By how addresses are carried: does each node tell since when one is where it is by its own clock, as EC2 does not?"""


def ahead_of(report: Report, time: float) -> float:
    """By how many seconds its node's clock is ahead of the one that shows ``time``; 0 where they do not differ."""
    if report.starting:
        return 0.0  # it has not been told the time yet
    ahead = report.time - time
    return ahead if abs(ahead) >= CLOCKS_DIFFER else 0.0


def by_this_clock(report: Report, ahead: float) -> Report:
    """The report with what its node has seen by its own clock as by the clock of whoever looks: what stands in EC2's
    answers and tags is by neither.
    """
    if not ahead:
        return report
    addresses = list[AddressReport]()
    for each in report.addresses:
        moves = (replace(move, began_at=move.began_at - ahead, ended_at=move.ended_at - ahead) for move in each.moves)
        seen_there = SEEN_THERE.get(report.carry) or each.since_at_least
        addresses.append(
            replace(
                each,
                since=each.since - ahead if seen_there and each.since is not None else each.since,
                down_since=each.down_since - ahead if each.down_since is not None else None,
                unready_since=each.unready_since - ahead if each.unready_since is not None else None,
                moves=tuple(moves),
            )
        )
    return replace(report, addresses=tuple(addresses))
