"""
A pause on request: while our ENIs have this tag no address is taken from its holder.  It ends by itself.

Pure.  The value is when it ends, in Unix seconds.  IAM says who may write it; nothing can be commanded over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from floatingip.core.ec2 import moment
from floatingip.core.wording import clock

TAG = "floatingip/paused"

LONGEST = 24 * 3600.0 + 300.0
"""Seconds until a pause ends, at most: the longest one that may be asked for is a day, and AWS lets clocks differ by
five minutes.  An end that is further away was written by mistake or by a wrong clock, and is ignored.
"""


def ends_at(tags: Mapping[str, str], wall: float) -> float:
    """When the pause of an ENI with these tags ends, in Unix seconds; minus infinity when there is none."""
    end = moment(tags, TAG)
    return end if wall < end <= wall + LONGEST else -inf


def told(until: float) -> str:
    """A sentence that moves are paused ``until`` then (Unix seconds); it is the same for as long as the pause lasts."""
    return f"nothing is to move before {clock(round(until))}: `floatingip resume` ends the pause"
