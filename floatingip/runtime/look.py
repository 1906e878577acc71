"""
One look at EC2: all questions for all floating addresses together, in as few calls as possible, side by side.

A node that is about to convict a holder waits for two answers: where the address is, and what became of the instance.
So the instances that are known to matter are asked about at the same time as the ENIs.  Any call may hang, so a look
belongs in a thread of its own.

Where a part of one interface cannot be read, only what depends on it remains unknown; above all, the address does not
count as nobody's for that, nor the interface as free.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import TypeVar

from floatingip.agent.looks import Question, Seen, cluster_name
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import OWNER_TAG, AllocationFacts, Eni, Instance, InstanceState, Subnet
from floatingip.core.errors import CloudError, CloudUnavailable, Denied, Throttled
from floatingip.core.model import Allocation, Target
from floatingip.core.ports import Cloud
from floatingip.core.settings import Settings
from floatingip.edges import background, clock

RETRY_AFTER = (0.1, 0.3)
"""Seconds, at random between these, after which a question that EC2 refused for the moment is put once more: the
questions of one look are put side by side, and one that is throttled must not spoil what the others learned.
"""

REFUSED_WITHIN = 1.0
"""Seconds within which a question must have failed to be put once more: what took longer is left to the next look."""

WRITES_AGAIN_AFTER = ((0.03, 0.1), (0.2, 0.4))
"""Seconds, at random between these, after which a write that EC2 throttled is made a second and a third time.  The
first pause is short, so that no question comes between: where EC2 throttles every second call, the write would be
throttled again.
"""

THROTTLED_WITHIN = 0.5
"""Seconds within which EC2 must have throttled a write for it to be made again: what it was decided by gets old."""

WANTED_WITHIN = 1.0
"""Seconds for which subnets that are only wanted are waited for, once all else is known: that gets old meanwhile."""

T = TypeVar("T")


class Calls:
    """Makes the calls of one look, or of one write.

    A question that EC2 refuses at once and for the moment, as it does when it throttles, is put a second time soon.
    ``made`` has one entry for each call that was made: a list, since calls are made from several threads.
    """

    def __init__(self) -> None:
        self.made: list[None] = []

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask, and wait for the answer."""
        began = clock.now()
        self.made.append(None)
        try:
            return ask()
        except CloudUnavailable:
            if clock.now() - began > REFUSED_WITHIN:
                raise
        time.sleep(random.uniform(*RETRY_AFTER))
        self.made.append(None)
        return ask()

    def insist(self, write: Callable[[], None]) -> None:
        """Make a write, and make it again only while EC2 throttles it: after any other failure it may have been done
        (R8).  It is tried more than once since, where EC2 throttles every second call, a look ends with one that was
        not throttled, and the write that follows is.
        """
        for pause in WRITES_AGAIN_AFTER:
            began = clock.now()
            self.made.append(None)
            try:
                return write()
            except Throttled:
                if clock.now() - began > THROTTLED_WITHIN:
                    raise
            time.sleep(random.uniform(*pause))
        self.made.append(None)
        return write()

    def begin(self, ask: Callable[[], T]) -> Future[T]:
        """Begin to ask, beside the other calls."""
        return background.begin("look-beside", functools.partial(self.patiently, ask))


def look(cloud: Cloud, settings: Settings, question: Question, calls: Calls | None = None) -> Seen:
    """Ask EC2; tests pass ``calls`` that need no threads.

    Raises CloudError for the first call that fails, but where EC2 cannot answer one that only some of this depends on,
    or does not let that of an Elastic IP be made: where an address is can be known without what is told of its holder's
    instance, of an Elastic IP, or of others.
    """
    me, known, calls = question.me, question.known, calls or Calls()
    foreseen = question.judged | (frozenset((me,)) - known)
    described = calls.begin(lambda: cloud.describe_instances(foreseen)) if foreseen else None
    name = question.name
    if not name and described is not None:
        mine = described.result().get(me)
        if mine is None or mine.state is InstanceState.UNREAD:
            raise CloudUnavailable(f"DescribeInstances: {me}, this node's instance, is not shown, or cannot be read")
        name = cluster_name(mine.tags)
    subnets = calls.begin(cloud.describe_subnets) if question.need_subnets or question.want_subnets else None
    shown = calls.patiently(lambda: cloud.describe_enis(name)) if name else ()
    ours, unread = tuple(eni for eni in shown if not eni.unread), tuple(eni for eni in shown if eni.unread)
    unknown = {
        target: cannot_be_read(eni)
        for eni in unread
        for target in settings.floating_ips
        if eni.carries(target) or not eni.tags
    }
    unknown = {**_shown_twice(settings, ours), **unknown}
    standing = tuple(eni for eni in ours if eni.standing_for)
    usable = way_to(settings.carry).usable(ours)
    enis = _by_target(settings, usable, unknown)
    asked = {
        target: calls.begin(functools.partial(cloud.describe_allocation, target.id))
        for target in settings.floating_ips
        if isinstance(target, Allocation)
        and target not in unknown
        and (target not in enis or target.id not in enis[target].elastic.values())
    }
    enis.update(_occupants(cloud, calls, settings, enis, unknown))
    holders = frozenset(eni.attachment.instance_id for eni in enis.values() if eni.attachment is not None) - {""}
    ended = frozenset(eni.standing_for for eni in standing if eni.attachment is None)
    wanted = holders | ended | {me}
    lacking = wanted - foreseen
    if not (question.judged or ended):
        lacking -= known
    instances: dict[str, Instance] = {}
    undescribed = ""
    try:
        if described is not None:
            instances.update(described.result())
        if lacking:
            instances.update(calls.patiently(lambda: cloud.describe_instances(lacking)))
    except CloudUnavailable as error:
        undescribed = str(error)
    allocations: dict[Target, AllocationFacts | None] = {}
    refused: dict[Target, Denied] = {}
    for target, answer in asked.items():
        try:
            allocations[target] = answer.result()
        except (CloudUnavailable, Denied) as error:
            if isinstance(error, Denied):
                refused[target] = error
            if target in enis:
                undescribed = str(error)
            else:
                unknown[target] = str(error)
    return Seen(
        asked_at=question.asked_at,
        enis=enis,
        standing=standing,
        ours=frozenset(eni.id for eni in shown),
        orphans=frozenset(eni.id for eni in ours if not eni.standing_for and eni not in enis.values()),
        mixed=", ".join(sorted(eni.id for eni in ours if eni not in usable)),
        instances=instances,
        subnets=_all_known(settings, question, subnets) if subnets is not None else None,
        allocations=allocations,
        unknown=unknown,
        refused=refused,
        unread=unread,
        undescribed=undescribed,
        calls=len(calls.made),
    )


def _shown_twice(settings: Settings, ours: tuple[Eni, ...]) -> dict[Target, str]:
    """The targets that several of our ENIs have, which cannot be: EC2 may show both while it moves one.

    Not where each ENI has an Elastic IP by our tag: of those all observers choose the same one.
    """
    found: dict[Target, str] = {}
    for target in settings.floating_ips:
        is_elastic = isinstance(target, Allocation)
        having = [eni for eni in ours if eni.carries(target) and (eni.standing_for or not is_elastic)]
        if len(having) > 1:
            found[target] = f"{target} is shown on {' and on '.join(sorted(eni.id for eni in having))}"
    return found


def read_in_full(enis: Iterable[Eni]) -> tuple[Eni, ...]:
    """The same ENIs, for those who need all of them.  Raises ``CloudUnavailable``, which names one that is unread."""
    enis = tuple(enis)
    for eni in enis:
        if eni.unread:
            raise CloudUnavailable(f"DescribeNetworkInterfaces: {cannot_be_read(eni)}")
    return enis


def cannot_be_read(eni: Eni) -> str:
    """The sentence about an ENI of ours that is unread."""
    return f"{eni.id or 'an interface of ours'} cannot be read: {eni.unread}"


def _all_known(settings: Settings, question: Question, answer: Future[tuple[Subnet, ...]]) -> tuple[Subnet, ...] | None:
    """`_read_subnets`; None where they are only wanted, and not told, or not soon.  Raises ``CloudError``."""
    try:
        return _read_subnets(settings, answer.result(None if question.need_subnets else WANTED_WITHIN))
    except (CloudError, TimeoutError):
        if question.need_subnets:
            raise
        return None


def _read_subnets(settings: Settings, subnets: tuple[Subnet, ...]) -> tuple[Subnet, ...]:
    """The subnets that can be read.  Raises ``CloudUnavailable`` when an address may belong to one of the others."""
    read = tuple(subnet for subnet in subnets if not subnet.unread)
    addresses = [target for target in settings.floating_ips if not isinstance(target, Allocation)]
    if len(read) < len(subnets) and not all(any(s.network_of(address) for s in read) for address in addresses):
        unread = ", ".join(f"{s.id or 'a subnet'}: {s.unread}" for s in subnets if s.unread)
        raise CloudUnavailable(f"DescribeSubnets: cannot be read: {unread}")
    return read


def _by_target(settings: Settings, usable: tuple[Eni, ...], unknown: Mapping[Target, str]) -> dict[Target, Eni]:
    """The ENI of ours by which each target is carried, for those that have one, and of which that is known."""
    # Should an allocation have two, all observers choose the same one.
    ranked = sorted(usable, key=lambda eni: (not eni.elastic, eni.attachment is None, eni.id), reverse=True)
    known = [target for target in settings.floating_ips if target not in unknown]
    return {target: eni for target in known for eni in ranked if eni.carries(target)}


def _occupants(
    cloud: Cloud, calls: Calls, settings: Settings, enis: Mapping[Target, Eni], unknown: dict[Target, str]
) -> dict[Target, Eni]:
    """The ENI that has each address which none of ours carries.  Adds to ``unknown``."""
    found: dict[Target, Eni] = {}
    absent = [target for target in settings.floating_ips if target not in enis and target not in unknown]
    addresses = frozenset(target for target in absent if not isinstance(target, Allocation))
    if not addresses:
        return found
    try:
        occupants = calls.patiently(lambda: cloud.find_occupants(addresses))
    except CloudUnavailable as error:
        unknown.update(dict.fromkeys(addresses, str(error)))
        return found
    # Whatever has such an address is not ours, or is ours with a tag that EC2 does not show yet.
    for eni in occupants:
        has = {target for target in addresses if eni.occupies(target)}
        found.update(dict.fromkeys(has, eni))
        if not has or (eni.unread and OWNER_TAG in eni.tags):
            # EC2 shows this one because it has one of the addresses: only which one, and whose it is, matter here.
            unread = eni.unread or "no address that it is shown for"
            said = f"{eni.id or 'the interface that has it'} cannot be read: {unread}"
            unknown.update(dict.fromkeys(has or addresses, said))
    return {target: eni for target, eni in found.items() if target not in unknown}
