"""What AWS' answers say: IMDS, credentials, permissions, and how long they took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from floatingip.commands.doctor.finding import CLOCK, CREDENTIALS, EC2, IMDS, PERMISSIONS, Finding
from floatingip.core.ec2 import Eni
from floatingip.core.errors import CloudError, Denied, FloatingIPError, MetadataError, NoCredentials
from floatingip.core.node import Identity

SLOW_IMDS = 0.5
"""Seconds within which IMDS, on the same host, should give the nine values that say who this node is."""

SLOW_EC2 = 2.0
"""Seconds for one answer of EC2: a failover needs some ten of them."""

CLOCK_MAY_DIFFER, CLOCK_REFUSED = 5.0, 240.0
"""Seconds: a difference up to the first may be due to the network or to EC2's clock; the second is near the 300 from
which AWS refuses requests.
"""


NO_STS = "nothing, while EC2 answers; a NAT gateway, or a VPC endpoint for STS, would let this node reach STS"


def imds(found: Identity | MetadataError, took: float) -> Iterator[Finding]:
    """IMDS version 2 answers, with all that says who this node is."""
    if isinstance(found, MetadataError):
        yield IMDS.fail(found.args[0], found.hint)
        return
    said = f"{found.instance_id} in {found.zone}, {found.address}, told within {took * 1000:.0f} ms"
    yield IMDS.ok(said) if took < SLOW_IMDS else IMDS.warn(said, "see what else on this node asks IMDS so much")


def credentials(found: str | CloudError) -> Iterator[Finding]:
    """Whose the credentials are: STS tells that without any permission."""
    match found:
        case str():
            yield CREDENTIALS.ok(found)
        case NoCredentials():
            yield CREDENTIALS.fail(found.args[0], found.hint)
        case _:
            # EC2 may answer all the same: a VPC without a way out needs an endpoint only for EC2.
            yield CREDENTIALS.unknown(f"whose they are, as STS does not tell: {found.args[0]}", found.hint or NO_STS)


def ec2(took: float | FloatingIPError) -> Iterator[Finding]:
    """EC2 answers, and fast enough; ``took`` is how many seconds it needed, or its error."""
    match took:
        case float():
            said = f"answered within {took * 1000:.0f} ms"
            yield EC2.ok(said) if took < SLOW_EC2 else EC2.warn(said)
        case NoCredentials():
            yield EC2.unknown("there are no credentials for it")
        case Denied():
            yield EC2.ok(f"answers, by a denial of {took.action}")
        case _:
            yield EC2.fail(took.args[0], took.hint)


def clock(ahead: float | None) -> Iterator[Finding]:
    """By how many seconds this node's clock is ``ahead`` of EC2's (negative: behind); None if not told."""
    if ahead is None:
        yield CLOCK.unknown("EC2's answer came without its time", "is there a proxy (HTTPS_PROXY) that takes it off?")
        return
    if abs(ahead) < CLOCK_MAY_DIFFER:
        yield CLOCK.ok("as EC2's, within some seconds")
        return
    said = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} EC2's"
    yield CLOCK.fail(said) if abs(ahead) > CLOCK_REFUSED else CLOCK.warn(said)


def permissions(denied: Sequence[str], eni: Eni | None) -> Iterator[Finding]:
    """The actions that dry runs found ``denied``; ``eni`` is our interface that they were tried with, if any."""
    for action in sorted(set(denied)):
        error = Denied(action)
        yield PERMISSIONS.fail(
            error.args[0], f"{error.hint}, as docs/iam-policy.json does; has what it names its tags?"
        )
    if not denied and eni is not None:
        yield PERMISSIONS.ok(f"nothing is denied, by dry runs with {eni.id}")
    elif not denied:
        yield PERMISSIONS.ok("nothing is denied of what can be tried before there is an interface of ours")
