"""
Let moto's handlers ask the rules of a World.

Patches are global to the process, worlds are not: each has an AWS account of its own, and an account without a world
gets moto as it is.
"""

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

from moto.ec2.exceptions import InvalidNetworkInterfaceIdError
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_network_interfaces import NetworkInterface, NetworkInterfaceBackend
from moto.ec2.models.instances import Instance
from moto.ec2.responses.elastic_ip_addresses import ElasticIPAddresses
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces

from lab.ec2.world import World

_INTERFACES: Mapping[str, Callable[[World, ElasticNetworkInterfaces], Any]] = {
    "create_network_interface": lambda world, call: world.interfaces.create(call),
    "describe_network_interfaces": lambda world, call: world.interfaces.describe(call),
    "delete_network_interface": lambda world, call: world.interfaces.delete(call),
    "attach_network_interface": lambda world, call: world.attachments.attach(call),
    "detach_network_interface": lambda world, call: world.attachments.detach(call),
    "assign_private_ip_addresses": lambda world, call: world.addresses.assign_ipv4(call),
    "unassign_private_ip_addresses": lambda world, call: world.addresses.unassign_ipv4(call),
    "assign_ipv6_addresses": lambda world, call: world.addresses.assign_ipv6(call),
    "unassign_ipv6_addresses": lambda world, call: world.addresses.unassign_ipv6(call),
}
_ELASTIC: Mapping[str, Callable[[World, ElasticIPAddresses], Any]] = {
    "allocate_address": lambda world, call: world.elastic.allocate(call),
    "describe_addresses": lambda world, call: world.elastic.describe(call),
    "associate_address": lambda world, call: world.elastic.associate(call),
    "disassociate_address": lambda world, call: world.elastic.disassociate(call),
    "release_address": lambda world, call: world.elastic.release(call),
}
_INSTANCES: Mapping[str, Callable[[World, Instance], Any]] = {
    "terminate": lambda world, instance: world.instances.terminate(instance),
    "stop": lambda world, instance: world.instances.stop(instance),
    "start": lambda world, instance: world.instances.start(instance),
    "reboot": lambda world, instance: world.account.devices.reboot(instance.id),
}

_worlds: dict[str, World] = {}
_patching = threading.Lock()


def install(world: World) -> None:
    """Put the account of this world under its rules; the first call patches moto, for the life of the process."""
    with _patching:
        if not getattr(NetworkInterface, "_has_rules", False):
            _patch()
            NetworkInterface._has_rules = True  # type: ignore[attr-defined]  # a mark on moto's class, for this line only
    _worlds[world.account.id] = world


def uninstall(world: World) -> None:
    """Forget the world and what moto keeps for its account."""
    _worlds.pop(world.account.id, None)
    ec2_backends.pop(world.account.id, None)


def _patch() -> None:
    for name, rule in _INTERFACES.items():
        _route(ElasticNetworkInterfaces, name, _account_of_call, _without_original(rule))
    for name, elastic_rule in _ELASTIC.items():
        _route(ElasticIPAddresses, name, _account_of_call, _without_original(elastic_rule))
    for name, instance_rule in _INSTANCES.items():
        _route(Instance, name, lambda instance: instance.ec2_backend.account_id, _without_original(instance_rule))
    _route(
        ElasticNetworkInterfaces,
        "modify_network_interface_attribute",
        _account_of_call,
        lambda world, call, original: world.interfaces.modify(call, original),
    )
    # Only CreateTags comes here, to ask whether the ENI exists; moto's own method never says no.
    _route(
        NetworkInterfaceBackend,
        "describe_network_interfaces",
        lambda backend: backend.account_id,
        lambda world, _backend, _original, filters: [_existing(world, filters["network-interface-id"])],
    )
    _route_property(NetworkInterface, "attachment", lambda world, eni: world.attachments.shown(eni))
    _route_property(NetworkInterface, "association", lambda world, eni: world.elastic.shown(eni.private_ip_address))
    # moto adds the instance's security groups to the ENI's own.
    _route_property(NetworkInterface, "group_set", lambda _world, eni: eni._group_set)
    # The primary ENI of a terminated instance is deleted, and stays in `nics` (see instances.py).
    _route_property(
        Instance,
        "network_interfaces",
        lambda world, instance: [eni for eni in instance.nics.values() if eni.id in world.account.backend.enis],
    )


def _account_of_call(call: Any) -> str:
    account: str = call.current_account
    return account


def _existing(world: World, eni_id: str) -> NetworkInterface:
    if eni_id not in world.account.backend.enis:
        raise InvalidNetworkInterfaceIdError(eni_id)
    return world.account.backend.enis[eni_id]


def _without_original(rule: Callable[[World, Any], Any]) -> Callable[..., Any]:
    return lambda world, subject, _original: rule(world, subject)


def _route(owner: type, name: str, account: Callable[[Any], str], rule: Callable[..., Any]) -> None:
    """Replace a method of moto by one that asks the world of the account, and falls back to the original."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def routed(self: Any, *args: Any, **kwargs: Any) -> Any:
        world = _worlds.get(account(self))
        if world is None:
            return original(self, *args, **kwargs)
        return rule(world, self, functools.partial(original, self), *args, **kwargs)

    setattr(owner, name, routed)


def _route_property(owner: type, name: str, rule: Callable[[World, Any], Any]) -> None:
    original = getattr(owner, name).fget

    def routed(self: Any) -> Any:
        world = _worlds.get(self.ec2_backend.account_id)
        return original(self) if world is None else rule(world, self)

    setattr(owner, name, property(routed))
