"""
A pause on request: while our ENIs have this tag no address is taken from its holder.  It ends by itself.

Pure.  The value is when it ends, in Unix seconds.  IAM says who may write it; nothing can be commanded over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, inf

from floatingip.core.ec2 import moment

TAG = "floatingip/paused"

LONGEST = 24 * 3600.0
"""Seconds that a pause lasts at most: an end further away was written by mistake or a wrong clock, and is ignored."""


def ends_at(tags: Mapping[str, str], wall: float) -> float:
    """When the pause of an ENI with these tags ends, in Unix seconds; minus infinity when there is none."""
    end = moment(tags, TAG)
    return end if wall < end <= wall + LONGEST else -inf


def told(seconds: float) -> str:
    """That there is one, for so long still."""
    return f"nothing is to move for {ceil(seconds / 60)} min: `floatingip resume` ends the pause"
