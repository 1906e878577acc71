"""
The rules that EC2 enforces and moto does not, all those of one account, and the state that moto has no place for.

moto's handlers are routed to a World by routing.py.  Unpatched, moto lets two instances win the same ENI.

A dry run is answered whatever the state of the things that it names; only if one does not exist, that is the answer
(unverified).

The rules are from botocore's model of EC2 of 2016-11-15 ([BOTO] in these modules), the error codes from EC2's API
reference, unless a line says otherwise.  What is `unverified` nobody could confirm.
"""

import copy
from typing import Any

from lab.ec2.account import Account
from lab.ec2.addresses import Addresses
from lab.ec2.attachments import Attachments
from lab.ec2.elastic import ElasticIps
from lab.ec2.instances import Instances
from lab.ec2.interfaces import Interfaces


class World:
    """The rules of one account: one per endpoint.  All of it runs under the endpoint's lock."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.elastic = ElasticIps(account)
        self.attachments = Attachments(account, self.elastic)
        self.addresses = Addresses(account, self.elastic, self.attachments)
        self.interfaces = Interfaces(account, self.elastic, self.attachments, self.addresses)
        self.instances = Instances(account, self.attachments, self.interfaces)

    @property
    def state(self) -> tuple[dict[str, Any], ...]:
        """All that a Describe shows; setting it replaces what EC2 knows."""
        return self.account.backend.__dict__, self.attachments.statuses, self.elastic.allocations

    @state.setter
    def state(self, state: tuple[dict[str, Any], ...]) -> None:
        # moto's responses find the backend by account and Region, so that one object must stay.
        self.account.backend.__dict__, self.attachments.statuses, self.elastic.allocations = state

    def copy_state(self) -> tuple[dict[str, Any], ...]:
        """A copy of the present state, which later changes do not touch."""
        # moto's objects refer to their backend: only a copy of the backend itself copies everything once.
        backend, others = copy.deepcopy((self.account.backend, self.state[1:]))
        copied: tuple[dict[str, Any], ...] = (backend.__dict__, *others)
        return copied
