"""Correct the times in reports of nodes whose clock differs from the reader's."""

from __future__ import annotations

from dataclasses import replace

from floatingip.core.decision.carry import way_to
from floatingip.core.model import Carry
from floatingip.core.report import AddressReport, Report

CLOCKS_DIFFER = 20.0
"""Seconds from which on two clocks count as different, as for the alert of that name: a smaller difference may be the
time that a report takes to get here.
"""

SEEN_THERE = {str(carry): way_to(carry).has_standing_enis for carry in Carry}
"""By the value of `carry`: whether nodes tell by their own clocks since when a holder has had an address, because EC2
does not tell that."""


def ahead_of(report: Report, time: float) -> float:
    """By how many seconds the reporting node's clock is ahead of the reader's, which is ``time``; 0 if they agree."""
    if report.starting:
        return 0.0  # A report from before the first decision has no time yet.
    ahead = report.time - time
    return ahead if abs(ahead) >= CLOCKS_DIFFER else 0.0


def by_this_clock(report: Report, ahead: float) -> Report:
    """The report with its node's own times converted to the reader's clock.  Times from EC2's answers and tags stay as
    they are: they are by neither of the two clocks.
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
