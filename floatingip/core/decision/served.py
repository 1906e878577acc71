"""
On which nodes NodePorts answer, and whether the holder is the one that lacks them (R7).

Pure.  What others see of a node counts more than what it sees of itself: for a Service with `externalTrafficPolicy:
Local`, kube-proxy sends what comes from the node itself to pods of the whole cluster (Kubernetes documentation,
"Virtual IPs and service proxies"), and a NetworkPolicy that lets in clients alone does not keep a node from its own
pods.  So a node's own check counts only for ports that no other observer has checked there.  That the others have
fallen silent does not make it count again.
"""

from __future__ import annotations

from collections.abc import Mapping

from floatingip.core import timing
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.view import Memory, View
from floatingip.core.ec2 import Attachment
from floatingip.core.health import Health, HealthState
from floatingip.core.peer import Peer
from floatingip.core.settings import Settings


def _counts(view: View, peer: Peer) -> bool:
    """Whether the observer answered recently enough for its checks to count."""
    return view.now - peer.heard_at <= timing.SERVED_HEARD_FOR


def ports_on(view: View, instance_id: str) -> frozenset[int]:
    """The NodePorts that answer on a node."""
    words = {peer.instance_id: peer.served for peer in view.peers if _counts(view, peer)}
    words[view.me] = view.served
    by_others: dict[int, bool] = {}
    for observer, word in words.items():
        if observer != instance_id:
            for port, answers in word.get(instance_id, {}).items():
                by_others[port] = by_others.get(port, False) or answers
    by_itself = words.get(instance_id, {}).get(instance_id, {})
    return frozenset(port for port, answers in {**by_itself, **by_others}.items() if answers)


def passing_since(before: Mapping[int, float], view: View) -> Mapping[int, float]:
    """By port: since when this node's own check of a NodePort on itself has passed; without those that do not pass."""
    return {port: before.get(port, view.now) for port, answers in view.served.get(view.me, {}).items() if answers}


def refuted(memory: Memory, view: View, settings: Settings) -> frozenset[int]:
    """The NodePorts that do not answer on this node by what other observers found, though its own check passes.

    They stay refuted when all others fall silent, since only the own check is left then, and that was wrong.  They are
    no longer when another observer finds that they answer, the own check fails, or they answer at the address.  A
    finding counts only if it is newer than the first loss at the address, and than the start of the passing own check.
    """
    found = set[int]()
    for port, passing_at in memory.passing_since.items():
        service = view.services.get(port)
        if service is None or service.state is not HealthState.DOWN or service.first_lost_at is None:
            continue
        since = max(service.first_lost_at, passing_at) + _known_after(settings) + settings.service_timeout
        here = (peer.served.get(view.me, {}) for peer in view.peers if _counts(view, peer) and peer.asked_at >= since)
        said = [answers[port] for answers in here if port in answers]
        if not any(said) and (said or port in memory.refuted):
            found.add(port)
    return frozenset(found)


def missed_here(memory: Memory, view: View, holder: str) -> frozenset[int]:
    """The NodePorts that answer on this node, and would answer at the address if that were here.

    Without the ports that have never answered at the address though they do at its holder's own address: kube-proxy or
    a security group keeps them from the floating address on every node.
    """
    kept_off = {port for port in ports_on(view, holder) if port in view.services and not view.services[port].ever_up}
    return ports_on(view, view.me).intersection(view.services) - kept_off - memory.refuted


def astray(view: View, holder: str) -> frozenset[int]:
    """The NodePorts that answer at the holder's own address, and not at the floating one, though that answers."""
    if view.health.state is not HealthState.UP or view.health.in_doubt:
        return frozenset()
    return ports_on(view, holder) & {port for port, each in view.services.items() if each.state is HealthState.DOWN}


def are_missing(memory: Memory, view: View, settings: Settings, attachment: Attachment) -> bool:
    """The address answers, but none of its NodePorts does; and one of them did before, or does on this node."""
    if view.health.state is not HealthState.UP or view.health.in_doubt or view.health.changed_at is None:
        return False
    if not view.services or not all(_is_lost(view, settings, service) for service in view.services.values()):
        return False
    seen_as = way_to(settings.carry).of_one(attachment.id, view.target)
    if any(any(peer.served.get(seen_as, {}).values()) for peer in view.peers if _counts(view, peer)):
        return False
    return any(service.fell for service in view.services.values()) or bool(
        missed_here(memory, view, attachment.instance_id)
    )


def _is_lost(view: View, settings: Settings, service: Health) -> bool:
    """The service's checks have failed while the address answers, for so long that what the observers know of the nodes
    is newer than the first failure.
    """
    if service.state is not HealthState.DOWN or service.first_lost_at is None or view.health.changed_at is None:
        return False
    judged = max((settings.service_fall - 1) * settings.service_interval, _known_after(settings))
    return view.now - max(service.first_lost_at, view.health.changed_at) >= judged + settings.service_timeout


def _known_after(settings: Settings) -> float:
    """Seconds after which all observers have looked at a node anew, and told each other."""
    return max(timing.SERVED_CHECK_EVERY, settings.service_interval) + timing.SERVED_TOLD_WITHIN
