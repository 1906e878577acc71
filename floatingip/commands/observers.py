"""The observers that a command can ask: those of the nodes that hold addresses, and the peers that those name."""

from __future__ import annotations

from functools import partial

from floatingip.agent.looks import cluster_name
from floatingip.commands.console import Console
from floatingip.commands.deployment import Deployment
from floatingip.commands.insisting import insist
from floatingip.core import timing
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import InstanceState
from floatingip.core.report import Report
from floatingip.core.word import PEERS_AT_MOST, RESERVED, Answer, Status
from floatingip.core.wording import span
from floatingip.runtime.peers import Contact

ASKED_EVERY = 0.1
"""Seconds until an observer that has not learned yet who asks is asked again."""

TOO_FAR_AHEAD = 120.0
"""Seconds: a node whose clock is this far ahead would obey an order, which lasts for 180, not for long enough."""

INTRODUCED_WITHIN = 3.0
"""Seconds that an observer may take to learn from EC2 who asks."""


class Observers:
    """The holders' observers, and the peers that they name, as far as EC2 shows them in the same cluster as ``ours``.

    All by instance id: ``telling`` are the observers that tell what they hold; ``answers``, the first answer of each
    that was asked; ``heard``, what each said that answered when it was last asked (`ask`); ``nodes``, names for people.
    """

    def __init__(self, ours: Deployment, console: Console) -> None:
        self._ours = ours
        self._port = ours.port
        self._me = ours.me
        self._now, self._sleep = console.now, console.sleep
        self._contacts: dict[str, Contact] = {}
        self.telling: set[str] = set()
        self.answers: dict[str, Answer] = {}
        self.heard: dict[str, Status] = {}
        self.nodes: dict[str, str] = {}
        self._unread: set[str] = set()
        self._problems: dict[str, str] = {}

    def find(self, holders: frozenset[str], named: frozenset[str] = frozenset()) -> None:
        """Ask the observers of the holders, of this node and of the ``named`` instances, then the peers they name."""
        clusters, tried, waiting = set[str](), set[str](), holders | named | ({self._me} - {""})
        while waiting and len(tried) < PEERS_AT_MOST:
            asked = frozenset(sorted(waiting)[: PEERS_AT_MOST - len(tried)])
            tried |= asked
            waiting = waiting - tried
            shown = insist(partial(self._ours.cloud.describe_instances, asked), sleep=self._sleep).values()
            clusters.update(cluster_name(instance.tags) for instance in shown if instance.id in holders)
            for instance in shown:
                if instance.state is InstanceState.UNREAD:
                    self._unread.add(instance.id)
                also = ", ".join(filter(None, (instance.node, str(instance.address or ""))))
                self.nodes[instance.id] = f"{instance.id} ({also})" if also else instance.id
                ours = cluster_name(instance.tags) in clusters
                if not ours or instance.address is None or instance.state.announces_death:
                    continue
                contact = Contact(instance.address, self._port, self._me, self._ours.address)
                answer = contact.ask_until_known(INTRODUCED_WITHIN, ASKED_EVERY, self._now, self._sleep)
                self._contacts[instance.id], self.answers[instance.id] = contact, answer
                if answer.status is not None and answer.status.instance_id == instance.id:
                    self.telling.add(instance.id)
                    waiting |= set(answer.status.peers) - tried

    def look(self) -> None:
        """Tell all of them to ask EC2 soon."""
        for instance_id in self.telling:
            self._contacts[instance_id].ask(look=True)

    def ask(self, instance_id: str) -> Status | None:
        """What that observer says of itself now; None if it is silent, or does not know who asks."""
        self.heard.pop(instance_id, None)
        status = self._contacts[instance_id].ask().status
        if status is None or status.instance_id != instance_id:
            return None
        self.heard[instance_id] = status
        return status

    def not_ready(self, instance_id: str) -> str:
        """Why that observer says that it is not ready now; empty if it is ready."""
        return self._contacts[instance_id].not_ready()

    def is_silent(self, instance_id: str) -> bool:
        """Whether the node was asked and did not answer at all, not even by refusing the connection."""
        answer = self.answers.get(instance_id)
        return answer is not None and answer.status is None and not answer.refused

    def room(self, instance_id: str) -> int | None:
        """How many more ENIs that node could take, as its observer told; None if it did not, or none are needed."""
        answer = self.answers.get(instance_id)
        return answer.status.free_slots if answer is not None and answer.status is not None else None

    def problem(self, instance_id: str) -> str:
        """Why the observer there would not take an address over, empty if it would; found out only once."""
        if instance_id not in self._problems:
            self._problems[instance_id] = self._find_problem(instance_id)
        return self._problems[instance_id]

    def _find_problem(self, instance_id: str) -> str:
        if instance_id in self._unread:
            return "what EC2 says of that instance cannot be read"
        if instance_id not in self.answers:
            return "it is no living worker of the holder's cluster"
        contact, status = self._contacts[instance_id], self.answers[instance_id].status
        if status is None:
            return f"no observer answers at {contact.address}:{contact.port}"
        if status != RESERVED:
            if (status.name, status.instance_id) != (self._ours.name, instance_id):
                return f"the observer at {contact.address}:{contact.port} is not one of {self._ours.name}"
            if status.leaving:
                return "its node is about to end"
            if status.free_slots == 0:
                return way_to(self._ours.carry).lacks_room
        if (ahead := self._ahead(contact)) >= TOO_FAR_AHEAD:
            return f"its clock is {span(ahead)} ahead of this one's: to it an order is over"
        reason = self.not_ready(instance_id)
        return f"its observer is not ready: {reason}" if reason else ""

    def _ahead(self, contact: Contact) -> float:
        """By how many seconds the clock there is ahead of the one by which orders are given; 0 if that is not told."""
        report = contact.report(2 * timing.ASK_TIMEOUT)
        return report.time - self._ours.wall() if isinstance(report, Report) and not report.starting else 0.0
