"""What each of the doctor's checks looks at: it gets the facts that it needs (facts.py), and another module says what
they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from typing import TypeVar

from floatingip.commands.doctor import aws, finding, fleet, kubernetes, node, vpc
from floatingip.commands.doctor.facts import Facts
from floatingip.commands.doctor.finding import Finding
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import OWNER_TAG, AttachmentStatus, Eni
from floatingip.core.errors import (
    CloudError,
    ConfigurationError,
    Denied,
    FloatingIPError,
    HostError,
    MetadataError,
    ServicesUnknown,
)
from floatingip.core.groups import End
from floatingip.core.model import Address
from floatingip.edges.control_group import cpu_limit, slowed
from floatingip.edges.ec2 import api
from floatingip.edges.kernel import chains
from floatingip.edges.kernel.container import lacking
from floatingip.edges.kernel.host import KernelHost
from floatingip.edges.kernel.inspection import IPVS_LINK, KernelInspection, conntrack, rp_filter
from floatingip.edges.kernel.kube_proxy import kept_off
from floatingip.edges.kernel.mark_table import table_name
from floatingip.edges.kubernetes.node_ports import PodsServices

Look = Callable[[Facts], Iterable[Finding]]
T = TypeVar("T")
E = TypeVar("E", bound=FloatingIPError)


def _or_error(ask: Callable[[], T], *errors: type[E]) -> T | E:
    """What was asked for, or the error of one of these kinds that was raised instead: that is a finding, too."""
    try:
        return ask()
    except errors as error:
        return error


def _settings(facts: Facts) -> Iterator[Finding]:
    yield finding.SETTINGS.ok(f"FLOATING_IP={','.join(map(str, facts.targets))}, carry: {facts.settings.carry}")


def _imds(facts: Facts) -> Iterator[Finding]:
    try:
        found, took = facts.identified
    except MetadataError as error:
        yield from aws.imds(error, 0.0)
    else:
        yield from aws.imds(found, took)


def _permissions(facts: Facts) -> Iterator[Finding]:
    asked: list[Callable[[], object]] = [lambda: facts.seen]
    if not facts.is_elsewhere:
        asked += [lambda: facts.slots, lambda: facts.reserved]
    denied = list(api.denied(asked))
    try:
        eni, targets = next(iter(facts.ours), None), facts.targets
    except Denied:
        # Without a look at EC2 nothing else can be tried.
        yield from aws.permissions(denied, None)
        return
    denied += facts.inspection.denied(eni, targets)
    if not facts.is_elsewhere:
        subnet = next((each.subnet() for each in facts.addresses if each.subnet() is not None), None)
        if subnet is not None:
            tags, needed = {OWNER_TAG: facts.name}, way_to(facts.settings.carry).needed
            denied += facts.cloud.rehearse(eni, subnet, facts.me.instance_id, tags, targets, needed)
    yield from aws.permissions(denied, eni)


def _place(facts: Facts) -> Iterator[Finding]:
    for address in facts.addresses:
        yield from vpc.place(address.target, address.impossible(), address.subnet())


def _reservation(facts: Facts) -> Iterator[Finding]:
    stays = not way_to(facts.settings.carry).has_standing_enis
    for address in facts.addresses:
        subnet = address.subnet()
        if subnet is not None:
            kept = stays and address.target in facts.seen.enis
            yield from vpc.reservation(address.target, subnet, facts.reserved[subnet.id], is_kept=kept)


def _owner(facts: Facts) -> Iterator[Finding]:
    seen, name = facts.seen, facts.name
    for target in facts.targets:
        if target in seen.unknown:
            yield finding.OWNER.unknown(seen.unknown[target])
        else:
            yield from vpc.owner(target, seen.enis.get(target), name, seen.mixed)


def _slots(facts: Facts) -> Iterator[Finding]:
    me, settings = facts.instance, facts.settings
    used, count = len(me.device_indexes), len(facts.targets)
    yield from vpc.slots(settings.carry, me.id, facts.slots, used, facts.here, count)


def _workers(facts: Facts) -> Iterator[Finding]:
    is_deployed = bool(facts.holders) or facts.observer.status is not None
    yield from fleet.workers(facts.met, facts.me.zone, facts.settings.port, is_deployed=is_deployed)


def _rules(facts: Facts) -> Iterator[Finding]:
    me = facts.me
    groups = {each.instance.id: each.groups for each in facts.workers}
    ends = (End(address, groups.get(me.instance_id, frozenset(me.security_groups))) for address in facts.own)
    mine = [fleet.Carried(me.instance_id, end) for end in ends]
    others = [
        fleet.Carried(each.instance.id, End(each.instance.address, each.groups))
        for each in facts.others
        if each.instance.address is not None
    ]
    for target in facts.targets:
        eni = facts.seen.enis.get(target)
        address = eni.address_of(target) if eni is not None else None
        if eni is not None and address is not None and eni not in facts.here:
            others.append(fleet.Carried(str(target), End(address, frozenset(eni.security_groups))))
    wanted = frozenset().union(*(each.end.groups for each in (*mine, *others)))
    found = _or_error(lambda: facts.inspection.rules(wanted), CloudError)
    node_ports = () if isinstance(found, CloudError) else _or_error(lambda: facts.node_ports, ServicesUnknown)
    known = () if isinstance(node_ports, ServicesUnknown) else node_ports
    yield from fleet.rules(found, mine, others, facts.settings.port, known)


def _observer(facts: Facts) -> Iterator[Finding]:
    answer = facts.observer
    reason = facts.contact(facts.me.address).not_ready() if answer.status is not None else ""
    yield from fleet.observer(answer.status, reason, is_refused=answer.refused)


def _nft(_facts: Facts) -> Iterator[Finding]:
    with closing(KernelInspection()) as kernel:
        yield from node.nft(_or_error(kernel.try_nft, HostError))


def _forwarding(facts: Facts) -> Iterator[Finding]:
    with closing(KernelInspection()) as kernel:
        yield from node.forwarding({version: kernel.forwards(version) for version in facts.versions})


def _rp_filter(facts: Facts) -> Iterator[Finding]:
    of_ipv4 = [plumbing for plumbing in facts.plumbings if plumbing.address.version == 4]
    macs = {plumbing.mac for plumbing in of_ipv4}
    with closing(KernelInspection()) as kernel:
        names = [link.name for mac in sorted(macs) if (link := kernel.link(mac)) is not None]
        filtered = {link for plumbing in of_ipv4 for link in kernel.filtered(plumbing.mark)}
        wanting = tuple[str, ...]()
        with suppress(HostError):  # the check of nft reports that
            wanting = chains.by_reverse_path(kernel.readable()[0], facts.versions)
    asked = ("all", *names) if 4 in facts.versions else ()
    yield from node.rp_filter({name: rp_filter(name) for name in asked}, sorted(filtered), wanting)


def _links(facts: Facts) -> Iterator[Finding]:
    ours = {plumbing.address for plumbing in facts.plumbings}
    absent, found = list[Eni](), dict[str, tuple[str, ...]]()
    with closing(KernelInspection()) as kernel:
        for eni in facts.here:
            if (link := kernel.link(eni.mac)) is not None:
                found[link.name] = tuple(kernel.of_others(link.index, ours))
            elif eni.attachment is not None and eni.attachment.status is AttachmentStatus.ATTACHED:
                absent.append(eni)
    yield from node.links(found, absent)


def _routing(facts: Facts) -> Iterator[Finding]:
    problems: list[str] = []
    settings, count = facts.settings, len(facts.targets)
    tables = range(settings.table, settings.table + count)
    priorities = range(settings.priority, settings.priority + 2 * count)
    with closing(KernelHost()) as host:
        for plumbing in facts.plumbings:
            problems += host.in_the_way(plumbing)
            held = any(eni.occupies(plumbing.address) for eni in facts.here)
            if not held and (blind := host.blind(plumbing)):
                problems.append(blind)
    with closing(KernelInspection()) as kernel:
        probed = {*facts.carried, *(plumbing.address for plumbing in facts.plumbings)}
        strays = tuple(kernel.strays(tables, priorities, probed))
    yield from node.routing(problems, strays)


def _marks(facts: Facts) -> Iterator[Finding]:
    bits, ours = facts.settings.mark, {table_name(plumbing.address) for plumbing in facts.plumbings}
    with closing(KernelInspection()) as kernel:
        ruleset, unread = kernel.readable()
        unread += kernel.legacy()
        users = [*kernel.rules_on(bits), *chains.on_bits(ruleset, bits, ours)]
        users += chains.by_iptables(kernel.markings(), bits)
        names = [link.name for eni in facts.here if (link := kernel.link(eni.mac)) is not None]
    aside = (*chains.passing_by(ruleset, names), *chains.untracked(ruleset, names))
    yield from node.marks(users, bits, unread, aside)


def _firewall(_facts: Facts) -> Iterator[Finding]:
    with closing(KernelInspection()) as kernel:
        ruleset, unread = kernel.readable()
        yield from node.firewall(chains.that_drop(ruleset), (*unread, *kernel.legacy()))


def _kube_proxy(facts: Facts) -> Iterator[Finding]:
    with closing(KernelInspection()) as kernel:
        served = {version: kernel.node_ports_at(version) for version in facts.versions}
        has_ipvs = kernel.has_link(IPVS_LINK)
        by_iptables = {version: kernel.node_ports_by_iptables(version) for version in facts.versions}
    said = [
        text
        for address in facts.carried
        for mode, at in (("nftables", served), ("iptables", by_iptables))
        if (text := kept_off(address, at[address.version], mode))
    ]
    yield from node.kube_proxy(said, next(iter(served.values()), None), has_ipvs=has_ipvs)


def _role(facts: Facts) -> Iterator[Finding]:
    trouble = None
    if facts.own_pod.answered:
        try:
            PodsServices(facts.api_server).node_ports()
        except ServicesUnknown as error:
            trouble = error
    yield from kubernetes.role(facts.own_pod, trouble)


def _node_port(facts: Facts) -> Iterator[Finding]:
    asked = facts.node_ports
    at, held_here = dict[str, Address](), set[Address]()
    for target in facts.targets:
        eni = facts.seen.enis.get(target)
        address = eni.address_of(target) if eni is not None and facts.holder(target) else None
        if address is not None:
            at[str(target)] = address
            if facts.holder(target) == facts.me.instance_id:
                held_here.add(address)
    yield from fleet.node_port(asked, facts.own, at, held_here, facts.serves)


LOOKS: dict[str, Look] = {
    "settings": _settings,
    "imds": _imds,
    "credentials": lambda facts: aws.credentials(_or_error(lambda: facts.caller, CloudError)),
    "ec2": lambda facts: aws.ec2(_or_error(lambda: facts.clock[1], CloudError, ConfigurationError)),
    "permissions": _permissions,
    "clock": lambda facts: aws.clock(facts.clock[0]),
    "place": _place,
    "reservation": _reservation,
    "owner": _owner,
    "slots": _slots,
    "source-check": lambda facts: vpc.source_check(facts.ours),
    "no-manage": lambda facts: vpc.no_manage(facts.ours),
    "workers": _workers,
    "port": lambda facts: fleet.port(*facts.answers, facts.settings.port),
    "icmp": lambda facts: fleet.icmp(*facts.answers, facts.settings.port),
    "rules": _rules,
    "observer": _observer,
    "capabilities": lambda _facts: node.capabilities(lacking()),
    "cpu": lambda _facts: node.cpu(slowed(cpu_limit())),
    "nft": _nft,
    "forwarding": _forwarding,
    "rp-filter": _rp_filter,
    "links": _links,
    "routing": _routing,
    "marks": _marks,
    "firewall": _firewall,
    "conntrack": lambda _facts: node.conntrack(*conntrack()),
    "kube-proxy": _kube_proxy,
    "api-server": lambda facts: kubernetes.api_server(facts.own_pod),
    "role": _role,
    "node-port": _node_port,
}
"""What each check looks at, by the check's name."""
