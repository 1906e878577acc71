"""
One look at EC2: all questions for all floating addresses together, in as few calls as possible, side by side.

A node that is about to convict a holder waits for two answers: where the address is, and what became of the instance.
So the instances that are known to matter are asked about at the same time as the ENIs.  Any call may hang, so a look
belongs in a thread of its own.

If a part of one interface cannot be read, only what depends on that part remains unknown.  Above all, an address that
may be on it does not count as free, nor does the interface itself.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future

from floatingip.agent.looks import Question, Seen, cluster_name
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import OWNER_TAG, AllocationFacts, Eni, Instance, InstanceState, Subnet
from floatingip.core.errors import CloudError, CloudUnavailable, Denied
from floatingip.core.model import Allocation, Target
from floatingip.core.ports import Cloud
from floatingip.core.settings import Settings
from floatingip.runtime.calls import Calls

WANTED_WITHIN = 1.0
"""Seconds to wait for subnets that are only wanted, once all else is known: the answer gets old meanwhile."""


Described = Future[Mapping[str, Instance]]


def look(cloud: Cloud, settings: Settings, question: Question, calls: Calls | None = None) -> Seen:
    """Ask EC2; tests pass ``calls`` that need no threads.

    Raises the CloudError of the first call that fails, with these exceptions: EC2 fails a call on which only a part of
    the answer depends, with whatever code, or IAM denies a call about an Elastic IP.  Where an address is can be known
    without knowing its holder's instance, an Elastic IP, or other addresses.
    """
    calls, me = calls or Calls(), question.me
    foreseen = question.judged | (frozenset((me,)) - question.known)
    described = calls.begin(lambda: cloud.describe_instances(foreseen)) if foreseen else None
    name = question.name or (_name_of(me, described) if described is not None else "")
    subnets = calls.begin(cloud.describe_subnets) if question.need_subnets or question.want_subnets else None
    shown = calls.patiently(lambda: cloud.describe_enis(name)) if name else ()
    ours, unread = tuple(eni for eni in shown if not eni.unread), tuple(eni for eni in shown if eni.unread)
    unknown = {**_shown_twice(settings, ours), **_perhaps_on(settings, unread)}
    standing = tuple(eni for eni in ours if eni.standing_for)
    usable = way_to(settings.carry).usable(ours)
    enis = _by_target(settings, usable, unknown)
    asked = _ask_of_elastic(cloud, calls, settings, enis, unknown)
    enis.update(_occupants(cloud, calls, settings, enis, unknown))
    concerned = frozenset(eni.attachment.instance_id for eni in enis.values() if eni.attachment is not None) - {""}
    ended = frozenset(eni.standing_for for eni in standing if eni.attachment is None)
    lacking = (concerned | ended | {me}) - foreseen
    if not (question.judged or ended):
        lacking -= question.known
    instances, undescribed = _describe(cloud, calls, described, lacking)
    allocations, failed = _told_of_elastic(asked)
    unknown.update({target: str(error) for target, error in failed.items() if target not in enis})
    undescribed += [str(error) for target, error in failed.items() if target in enis]
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
        refused={target: error for target, error in failed.items() if isinstance(error, Denied)},
        unread=unread,
        undescribed="; ".join(undescribed),
        calls=len(calls.made),
    )


def _name_of(me: str, described: Described) -> str:
    """The cluster that this node's instance names, empty if it names none.  Raises ``CloudError``."""
    mine = described.result().get(me)
    if mine is None or mine.state is InstanceState.UNREAD:
        raise CloudUnavailable(f"DescribeInstances: {me}, this node's instance, is not shown, or cannot be read")
    return cluster_name(mine.tags)


def _describe(
    cloud: Cloud, calls: Calls, described: Described | None, lacking: Collection[str]
) -> tuple[dict[str, Instance], list[str]]:
    """The instances that EC2 was asked to describe already, and those that are ``lacking``; and why some could not be
    described, if so.  Raises ``Denied``.
    """
    instances: dict[str, Instance] = {}
    try:
        if described is not None:
            instances.update(described.result())
        if lacking:
            instances.update(calls.patiently(lambda: cloud.describe_instances(frozenset(lacking))))
    except Denied:
        raise
    except CloudError as error:
        return instances, [str(error)]
    return instances, []


def _ask_of_elastic(
    cloud: Cloud, calls: Calls, settings: Settings, enis: Mapping[Target, Eni], unknown: Collection[Target]
) -> dict[Target, Future[AllocationFacts | None]]:
    """Begin to ask for the Elastic IPs of which more has to be known than their ENI shows."""
    return {
        target: calls.begin(functools.partial(cloud.describe_allocation, target.id))
        for target in settings.floating_ips
        if isinstance(target, Allocation)
        and target not in unknown
        and (target not in enis or target.id not in enis[target].elastic.values())
    }


def _told_of_elastic(
    asked: Mapping[Target, Future[AllocationFacts | None]],
) -> tuple[dict[Target, AllocationFacts | None], dict[Target, CloudError]]:
    """What EC2 answered of Elastic IPs, and the errors of those for which it did not answer or IAM denied the call."""
    told: dict[Target, AllocationFacts | None] = {}
    failed: dict[Target, CloudError] = {}
    for target, answer in asked.items():
        try:
            told[target] = answer.result()
        except CloudError as error:
            failed[target] = error
    return told, failed


def _perhaps_on(settings: Settings, unread: Iterable[Eni]) -> dict[Target, str]:
    """The targets that may be on an ENI which cannot be read, each with the reason."""
    return {
        target: cannot_be_read(eni)
        for eni in unread
        for target in settings.floating_ips
        if eni.has(target) or not eni.tags
    }


def _shown_twice(settings: Settings, ours: tuple[Eni, ...]) -> dict[Target, str]:
    """The targets that EC2 shows on several of our ENIs, each with a sentence: EC2 may show both while it moves one.

    ENIs that are only tagged for the same Elastic IP do not count: all observers choose the same one of them.
    """
    found: dict[Target, str] = {}
    for target in settings.floating_ips:
        is_elastic = isinstance(target, Allocation)
        having = [eni for eni in ours if eni.has(target) and (eni.standing_for or not is_elastic)]
        if len(having) > 1:
            found[target] = f"{target} is shown on {' and on '.join(sorted(eni.id for eni in having))}"
    return found


def read_in_full(enis: Iterable[Eni]) -> tuple[Eni, ...]:
    """The same ENIs, for callers that need all of them.  Raises ``CloudUnavailable`` if one could not be read."""
    enis = tuple(enis)
    for eni in enis:
        if eni.unread:
            raise CloudUnavailable(f"DescribeNetworkInterfaces: {cannot_be_read(eni)}")
    return enis


def cannot_be_read(eni: Eni) -> str:
    """A sentence that this ENI of ours could not be read."""
    return f"{eni.id or 'an interface of ours'} cannot be read: {eni.unread}"


def _all_known(settings: Settings, question: Question, answer: Future[tuple[Subnet, ...]]) -> tuple[Subnet, ...] | None:
    """`_read_subnets`; None if they are only wanted, and EC2 does not tell them soon.  Raises ``CloudError``."""
    try:
        return _read_subnets(settings, answer.result(None if question.need_subnets else WANTED_WITHIN))
    except (CloudError, TimeoutError):
        if question.need_subnets:
            raise
        return None


def _read_subnets(settings: Settings, subnets: tuple[Subnet, ...]) -> tuple[Subnet, ...]:
    """The subnets that can be read.  Raises ``CloudUnavailable`` if an address may belong to one of the others."""
    read = tuple(subnet for subnet in subnets if not subnet.unread)
    addresses = [target for target in settings.floating_ips if not isinstance(target, Allocation)]
    if len(read) < len(subnets) and not all(any(s.network_of(address) for s in read) for address in addresses):
        unread = ", ".join(f"{s.id or 'a subnet'}: {s.unread}" for s in subnets if s.unread)
        raise CloudUnavailable(f"DescribeSubnets: cannot be read: {unread}")
    return read


def _by_target(settings: Settings, usable: tuple[Eni, ...], unknown: Mapping[Target, str]) -> dict[Target, Eni]:
    """The ENI of ours by which each target is carried, without targets that have none or whose ENI is unknown."""
    # If an allocation has two ENIs, all observers choose the same one.
    ranked = sorted(usable, key=lambda eni: (not eni.elastic, eni.attachment is None, eni.id), reverse=True)
    known = [target for target in settings.floating_ips if target not in unknown]
    return {target: eni for target in known for eni in ranked if eni.has(target)}


def _occupants(
    cloud: Cloud, calls: Calls, settings: Settings, enis: Mapping[Target, Eni], unknown: dict[Target, str]
) -> dict[Target, Eni]:
    """For each address that none of our ENIs carries: the ENI that has it, if any.  Adds to ``unknown``."""
    found: dict[Target, Eni] = {}
    absent = [target for target in settings.floating_ips if target not in enis and target not in unknown]
    addresses = frozenset(target for target in absent if not isinstance(target, Allocation))
    if not addresses:
        return found
    try:
        occupants = calls.patiently(lambda: cloud.find_occupants(addresses))
    except Denied:
        raise
    except CloudError as error:
        unknown.update(dict.fromkeys(addresses, str(error)))
        return found
    # An ENI that has such an address is not ours, or is ours with a tag that EC2 does not show yet.
    for eni in occupants:
        has = {target for target in addresses if eni.occupies(target)}
        found.update(dict.fromkeys(has, eni))
        if not has or (eni.unread and OWNER_TAG in eni.tags):
            # EC2 shows this ENI because it has one of the addresses: what matters is which one, and whose the ENI is.
            unread = eni.unread or "no address that it is shown for"
            said = f"{eni.id or 'the interface that has it'} cannot be read: {unread}"
            unknown.update(dict.fromkeys(has or addresses, said))
    return {target: eni for target, eni in found.items() if target not in unknown}
