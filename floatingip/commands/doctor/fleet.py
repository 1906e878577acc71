"""Who else answers: workers, their observers, the floating addresses, NodePorts; by packets and by EC2's rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from floatingip.agent.company import LONELY
from floatingip.commands.doctor.finding import ICMP, NODE_PORT, OBSERVER, PORT, RULES, WORKERS, Finding, parted
from floatingip.core.decision.decision import Reason
from floatingip.core.errors import CloudError, Denied
from floatingip.core.groups import End, Rule, Worker, admitted
from floatingip.core.model import Address, ping_protocol
from floatingip.core.peer import Sight
from floatingip.core.probe import NodePort
from floatingip.core.word import RESERVED, Status

ALIVE = "look whether that instance lives; if it does, "
"""How a remedy begins if nothing answers at all: the reason may be a machine that is off, not a security group."""


@dataclass(frozen=True, slots=True)
class Met:
    """Another worker of the cluster in this node's zone, as it answers this node.

    ``refused``: it refused the connection to the observers' port.  ``pinged``: it answered a ping, None if this node
    cannot send pings.  ``holds``: EC2 shows a floating address there.  ``led_here``: what this node sends to that port
    never leaves it; the node answers itself.
    """

    worker: Worker
    status: Status | None = None
    refused: bool = False
    pinged: bool | None = True
    holds: bool = False
    led_here: bool = False

    @property
    def named(self) -> str:
        """The worker's name for people."""
        return f"{self.worker.instance.id} ({self.worker.instance.address})"

    @property
    def admits(self) -> bool:
        """Whether anything came back from the observers' port."""
        return self.status is not None or self.refused

    @property
    def observes(self) -> bool:
        """Whether an observer runs there, or should."""
        return self.holds or self.status is not None


@dataclass(frozen=True, slots=True)
class Reached:
    """A floating address that another node holds, as it answers this node.

    ``knocked``: it answers TCP on the observers' port.  ``sight``: whether its holder reaches this node's observer from
    it; UNTRIED if no observer runs here, or the holder did not tell.  ``led_here``: what this node sends to that port
    never leaves it; the node answers itself.
    """

    address: Address
    holder: str
    pinged: bool | None = True
    knocked: bool = True
    sight: Sight = Sight.UNTRIED
    led_here: bool = False


@dataclass(frozen=True, slots=True)
class Carried:
    """An address that a node carries, with the security groups of the interface that has it."""

    name: str
    end: End


def workers(met: Sequence[Met], zone: str, number: int, *, is_deployed: bool) -> Iterator[Finding]:
    """There is another worker that could take over, with an observer on TCP port ``number``.

    ``is_deployed``: an observer runs here, or somebody holds an address.
    """
    observing = [each.named for each in met if each.status is not None]
    if observing:
        yield WORKERS.ok(f"other observers answer: {', '.join(observing)}")
    elif not met:
        yield WORKERS.fail(f"no other worker of the cluster runs in {zone}, by EC2's tags")
    elif is_deployed:
        what, remedy = parted(LONELY.format(port=number))
        yield WORKERS.fail(f"{what}, though EC2 shows {', '.join(each.named for each in met)}", remedy)
    else:
        yield WORKERS.warn(f"no observer runs yet; EC2 shows {', '.join(each.named for each in met)}")


def port(met: Sequence[Met], reached: Sequence[Reached], number: int) -> Iterator[Finding]:
    """The observers' port is open from this node to each other one, and back."""
    remedy = f"let the workers' security group admit TCP {number} from itself"
    admitting = [each.named for each in met if each.admits]
    astray = [each.named for each in met if each.led_here]
    astray += [str(there.address) for there in reached if there.led_here]
    if astray:
        said = f"this node itself answers what it sends to TCP {number} of {', '.join(astray)}"
        remove = "remove the rule that does so (NAT, a transparent proxy, a firewall that rejects) from this node"
        yield PORT.fail(said, remove)
    for each in met:
        if each.admits or each.led_here:
            continue
        said = f"{each.named} answers {'pings, but ' if each.pinged else ''}nothing on TCP {number}"
        then = remedy if each.pinged else f"{ALIVE}{remedy}"
        yield PORT.fail(said, then) if each.observes or not admitting else PORT.warn(said, then)
    for there in reached:
        if there.sight is Sight.UNSEEN:
            said = f"{there.holder} does not reach TCP {number} of this node from {there.address}"
            yield PORT.fail(said, remedy)
        elif there.sight is Sight.SEEN:
            yield PORT.ok(f"{there.holder} reaches this node's observer from {there.address}")
    if admitting:
        yield PORT.ok(f"TCP {number} is open at {', '.join(admitting)}")
    elif not met:
        yield PORT.unknown("there is nobody to try")


def icmp(met: Sequence[Met], reached: Sequence[Reached], number: int) -> Iterator[Finding]:
    """Each other worker answers pings, and so do the floating addresses that they hold."""
    if any(each.pinged is None for each in met) or any(each.pinged is None for each in reached):
        yield ICMP.unknown("this node can send no pings")
        return
    answering = [each.named for each in met if each.pinged]
    for each in met:
        if each.pinged:
            continue
        said = f"{each.named} answers {f'TCP {number}, but no' if each.admits else 'no'} ping"
        then = "" if each.admits else f"{ALIVE}{ICMP.remedy}"
        yield ICMP.fail(said, then) if each.observes or not answering else ICMP.warn(said, then)
    for there in reached:
        if there.pinged:
            answering.append(str(there.address))
        elif there.knocked:
            said = Reason.PING_BLOCKED.value.format(detail=there.holder, ping=ping_protocol(there.address))
            yield ICMP.failing(f"{there.address}: {said}")
        else:
            said = f"nobody was reached: {there.address} at {there.holder} answers neither pings nor TCP {number}"
            admit = f"{ping_protocol(there.address)} and TCP {number}"
            yield ICMP.fail(said, f"{ALIVE}let the security group admit {admit} among the workers")
    if answering:
        yield ICMP.ok(f"pings are answered by {', '.join(answering)}")
    elif not met:
        yield ICMP.unknown("there is nobody to try")


def rules(
    found: Sequence[Rule] | CloudError,
    own: Sequence[Carried],
    others: Sequence[Carried],
    number: int,
    node_ports: Iterable[NodePort] = (),
) -> Iterator[Finding]:
    """EC2's rules admit the observers' port and pings between workers, and clients to the NodePorts.

    ``own`` is this node, once for each of its addresses.  Nodes without an address of the same IP version do not reach
    each other, so such pairs are not checked.
    """
    if isinstance(found, CloudError):
        # The pods need this permission for nothing else, so their IAM policy does not have it.
        denied = isinstance(found, Denied)
        said = f"not known by rules ({found.args[0]}), but by packets: see icmp and port"
        yield RULES.ok(said) if denied else RULES.warn(said)
        return
    closed = False
    pairs = [(me, other) for other in others for me in own if me.end.address.version == other.end.address.version]
    for me, other in pairs:
        named = ping_protocol(me.end.address)
        for source, to in ((me, other), (other, me)):
            for protocol, at, what in ((named.lower(), None, named), ("tcp", number, f"TCP {number}")):
                if admitted(found, source.end, to.end, protocol, at):
                    continue
                closed, said = True, f"{what} from {source.name} to {to.name}"
                if admitted(found, source.end, to.end, protocol, at, by_lists=True):
                    yield RULES.unknown(f"EC2's rules admit {said} only if a prefix list has it", "see icmp and port")
                else:
                    yield RULES.fail(f"EC2's rules admit no {said}")
    groups = frozenset[str]().union(*(me.end.groups for me in own))
    for each in node_ports:
        if not any(_lets_in(rule, each.port) for rule in found if rule.group in groups):
            yield RULES.warn(
                f"no rule of {', '.join(sorted(groups))} admits TCP {each.port} from anybody",
                f"let clients in to TCP {each.port}",
            )
    if not closed:
        yield RULES.ok("EC2's rules admit ICMP and the observers' port among the workers")


def _lets_in(rule: Rule, number: int) -> bool:
    tcp = rule.protocol in ("tcp", "6") and rule.first <= number <= rule.last
    return not rule.is_egress and (tcp or rule.protocol == "-1")


def observer(status: Status | None, reason: str, *, is_refused: bool) -> Iterator[Finding]:
    """What the observer on this node says at /readyz."""
    if status is None or status == RESERVED:
        yield OBSERVER.ok("none runs on this node") if is_refused else OBSERVER.warn("it does not answer")
    elif reason:
        yield OBSERVER.fail(f"not ready: {reason}")
    else:
        yield OBSERVER.ok(f"ready; holds {', '.join(status.holds) or 'nothing'}")


def node_port(
    asked: Collection[NodePort],
    own: Sequence[Address],
    floating: Mapping[str, Address],
    held_here: Collection[Address],
    serves: Callable[[NodePort, Address], bool],
) -> Iterator[Finding]:
    """Each NodePort answers at one of this node's ``own`` addresses, and at the ``floating`` ones, by name.

    ``held_here`` are those floating addresses that this node holds.
    """
    if not asked:
        yield NODE_PORT.ok("none is to be checked")
    served = frozenset[int]().union(*(each.versions for each in asked))
    for name, address in floating.items():
        if asked and address.version not in served:
            yield NODE_PORT.fail(
                f"none is served by IPv{address.version}, so nothing answers at {name}",
                "set `ipFamilyPolicy: PreferDualStack` of the Service, in a cluster that has both",
            )
    for each in asked:
        text = f"{each.port}{f' ({each.service})' if each.service else ''}"
        # An IPv6-only Service, as in an IPv6 cluster, has its NodePort at no IPv4 address.
        here = [address for address in own if address.version in each.versions]
        at = {name: address for name, address in floating.items() if address.version in each.versions}
        at = {**({"this node": here[0]} if here else {}), **at}
        open_at = [name for name, address in at.items() if serves(each, address)]
        closed = [name for name in at if name not in open_at]
        if not at:
            continue
        if not closed:
            yield NODE_PORT.ok(f"{text} answers at {', '.join(open_at)}")
        elif any(at[name] in held_here for name in closed) or not open_at:
            yield NODE_PORT.fail(f"{text} does not answer at {', '.join(closed)}")
        else:
            yield NODE_PORT.warn(f"{text} answers at {', '.join(open_at)}, but not at {', '.join(closed)}")
