"""Which NodePorts are checked: the one that the settings name, or those of this pod's namespace, listed regularly."""

from __future__ import annotations

from floatingip.agent.effects import ListNodePorts
from floatingip.agent.outbox import Outbox
from floatingip.agent.serving import Serving, chosen
from floatingip.agent.shared import Shared
from floatingip.agent.trouble import Trouble
from floatingip.core import timing
from floatingip.core.probe import NodePort
from floatingip.core.settings import AUTO


class NodePorts:
    """Keeps the NodePorts in ``shared`` up to date; ``serving`` tells which have ever answered.

    ``problem`` is why it is not known which NodePorts there are; empty if it is known.
    """

    def __init__(self, shared: Shared, serving: Serving, out: Outbox) -> None:
        settings = shared.settings
        self._is_auto = settings.service == AUTO
        self._shared = shared
        self._serving = serving
        self._out = out
        self._asking = False
        self._due = float("-inf")
        self._complaint = Trouble()
        self.problem = ""
        self._unchecked: frozenset[str] = frozenset()
        check = settings.service_check
        named = NodePort(check.port, check.path if check.kind == "http" else "") if check is not None else None
        shared.node_ports = () if named is None else (named,)
        shared.wants_node_ports = bool(settings.service)

    def follow(self, now: float) -> None:
        """Have the NodePorts listed when it is time."""
        if self._is_auto and not self._asking and now >= self._due:
            self._asking, self._due = True, now + timing.LIST_EVERY
            self._out.add(ListNodePorts())

    def unknown(self, problem: str, now: float) -> None:
        """The NodePorts could not be listed: those that are checked stay checked."""
        self._asking, self._due = False, now + timing.LIST_AGAIN
        if self._complaint.is_due(problem, now):
            checked = ", ".join(str(each.port) for each in self._shared.node_ports) or "none"
            self._out.warning("services", f"which NodePorts there are is not known: {problem}", checked=checked)
        self.problem = problem

    def listed(self, listed: tuple[NodePort, ...]) -> None:
        """The API server has listed the NodePorts: choose those to check."""
        shared = self._shared
        self._asking, self._complaint, self.problem = False, Trouble(), ""
        shared.wants_node_ports = bool(listed)
        before = shared.node_ports
        now = shared.node_ports = chosen(listed, {each.port for each in before}, self._serving.answered())
        if now != before:
            self._out.info("services", checked=",".join(map(_shown, now)) or "none")
        unchecked = frozenset(map(_shown, listed)) - frozenset(map(_shown, now))
        if unchecked - self._unchecked:
            names = ", ".join(sorted(unchecked))
            self._out.warning("services", f"more NodePorts than are checked at a time; not now: {names}")
        self._unchecked |= unchecked


def _shown(node_port: NodePort) -> str:
    return f"{node_port.port}/{node_port.service}"
