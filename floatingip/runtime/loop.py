"""
Run an agent on a real node: one thread, the deciding thread, lets it decide and does or begins what it asks for.

Everything that may block has a thread of its own, which puts its results into the inbox.  So an EC2 call that hangs
never delays a probe, and a slow nft never delays a decision.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue

from floatingip import __version__
from floatingip.agent.agent import Agent
from floatingip.agent.effects import Announce, AskNotice, AskPod, Clear, Keep, Probe, Probing, Tell, TellKubernetes
from floatingip.agent.events import Event, LogTroubled, LookWanted, Terminated
from floatingip.core import timing
from floatingip.core.errors import HostError
from floatingip.core.model import Address
from floatingip.core.node import Identity
from floatingip.core.ports import Prober
from floatingip.core.settings import Settings
from floatingip.edges import background, clock, straight
from floatingip.edges.telemetry import Log
from floatingip.runtime.desk import LOOPBACK, Desk
from floatingip.runtime.doing import Doer, Edges, Errand
from floatingip.runtime.keeping import HostKeeper
from floatingip.runtime.peers import Askers
from floatingip.runtime.probing import ProbeLoop
from floatingip.runtime.questions import MetadataLoop, PodLoop, SettingsLoop
from floatingip.runtime.reporting import Reporter
from floatingip.runtime.sight import Sights
from floatingip.runtime.status_server import IN_USE_AT_MOST, StatusServer, once_free

LISTENING_HINTS = {
    errno.EADDRINUSE: "set `port` to one that is free, and not in net.ipv4.ip_local_port_range",
    errno.EADDRNOTAVAIL: "IMDS names this address, but the pod has another: does it have `hostNetwork: true`?",
    errno.EACCES: "set `port` to one from 1024 on",
}
"""What to do about a port that cannot be had."""


class Loop:
    """Runs one agent, as ``attach`` or (``observes``) as ``observe``.  It is the `Crew` of its `Doer` (doing.py)."""

    def __init__(self, settings: Settings, me: Identity, edges: Edges, log: Log, *, observes: bool) -> None:
        self._settings = settings
        self._me = me
        self._edges = edges
        self._log = log
        self._observes = observes
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        self.agent = Agent(settings, me, observes=observes, started_at=self.now(), chance=random.uniform)
        self._doer = Doer(settings, me, edges, self)
        self._server: StatusServer | None = None
        self._spare = background.Spare()
        self._log_trouble = ""
        self._probes = ProbeLoop(self._prober, self._doer.probed)
        self._host = HostKeeper(edges.host, self._doer.reconciled)
        self._askers = Askers(me.instance_id, me.address, settings.port, self.post)
        self._imds = MetadataLoop(edges.metadata, self._doer.macs_at_risk, self.post)
        self._pod = PodLoop(edges.orders, self.post)
        self._reporter = Reporter(edges.board, self.post) if edges.board is not None else None

    def run(self) -> int:
        """
        Run until the agent has ended; return the exit code.

        `attach` raises errors that waiting cannot mend: ``AddressTaken``, ``ConfigurationError``, ``Denied``, or
        ``CloudError`` for a write that EC2 refuses for good.  `observe` raises ``HostError`` if it cannot listen on its
        port.
        """
        if self._observes:
            self._server = self._serve()
            if self._server is None:
                self._log.info("stopped")
                return 0
            self._imds.start()
            if self._edges.settings is not None:
                SettingsLoop(self._edges.settings, self.post).start()
        straight.prepare()
        self._probes.start()
        self._host.start()
        doer, events = self._doer, list[Event]()
        while doer.end is None:
            for effect in self.agent.handle(events, self.now(), time.time()):
                doer.do(effect)
            if said := straight.obstacle():
                self._log.warning(
                    "nat", f"connections of this observer go where NAT leads them: conntrack cannot be told ({said})"
                )
            events = [*self._news(), *self._log_troubles()] if doer.end is None else []
        if doer.end.error is not None:
            raise doer.end.error
        if self._observes:
            self._host.end(timing.KERNEL_ENDS_WITHIN)
            self._log.info("stopped")
        elif self._reporter is not None and doer.end.code == 0:
            self._reporter.end(timing.NEWS_END_WITHIN)
        return doer.end.code

    def stop(self) -> None:
        """Let the agent know of SIGTERM, so that it ends soon; may be called from a signal handler."""
        self.post(Terminated())

    def _news(self) -> list[Event]:
        """Wait until something happens or the agent is due; return what has happened."""
        events: list[Event] = []
        try:
            events.append(self._inbox.get(timeout=max(0.0, self.agent.due() - self.now())))
            while True:
                events.append(self._inbox.get_nowait())
        except Empty:
            return events

    def _log_troubles(self) -> Iterator[Event]:
        """That the log is not written any more, or again."""
        outlet, before = self._edges.outlet, self._log_trouble
        if outlet is not None and (trouble := outlet.trouble()) != before:
            self._log_trouble = trouble
            yield LogTroubled(trouble, outlet.lost)

    def _serve(self) -> StatusServer | None:
        """The running server; None if SIGTERM came while its port was in use.  Raises ``HostError``."""
        port, address, kubernetes = self._settings.port, self._me.address, self._me.kubernetes
        desk = self._desk()
        where = address if kubernetes is None else f"{address} and {kubernetes}"
        refused = self._edges.tally.refused

        def server_at_once() -> StatusServer:
            return StatusServer(
                address, port, desk.answer, desk.knows, also=LOOPBACK, refused=refused, kubernetes=kubernetes
            )

        def told(error: OSError) -> None:
            said = f"cannot listen on port {port} of {where} yet: {error.strerror}; waiting until it is free"
            self._log.warning("port", said, seconds=IN_USE_AT_MOST)

        try:
            # No other thread runs yet, so an event in the inbox can only be SIGTERM.
            server = once_free(server_at_once, told, lambda: not self._inbox.empty())
        except OSError as error:
            said = f"cannot listen on port {port} of {where}: {error.strerror}"
            raise HostError(said, LISTENING_HINTS.get(error.errno or 0, "")) from error
        if server is None:
            return None
        if server.absent is not None:
            self._log.warning(
                "node-address",
                f"NODE_ADDRESS: {server.absent} is not on this node, so the kubelet cannot ask there whether it is"
                " well; it is answered from when it is there",
            )
        if server.unheard:
            self._log.warning("loopback", f"{server.unheard}; `kubectl port-forward` finds nobody", port=port)
        server.start()
        return server

    def _desk(self) -> Desk:
        # Imported late: `attach` does not need it, and it takes most of the time to load.
        from floatingip.edges.prometheus import Metrics  # noqa: PLC0415

        return Desk(
            self._me.address,
            lambda: self._doer.published,
            Metrics(self._edges.tally, __version__).text,
            lambda: self.post(LookWanted()),
            self._doer.roster,
            Sights(self._settings.port).of,
            hangs=lambda now: self._probes.pulse.trouble(now) or self._host.pulse.trouble(now),
            kubernetes=self._me.kubernetes,
        )

    def _prober(self, probing: Probing) -> Prober:
        if probing.node_port is None:
            return self._edges.prober(probing.address)
        service = self._edges.service
        assert service is not None, "a NodePort is checked only where the settings ask for it"
        return service(probing.node_port, probing.address)

    # As the doer's crew.

    def now(self) -> float:
        """See `Crew`."""
        return clock.now()

    def post(self, event: Event) -> None:
        """See `Crew`."""
        self._inbox.put(event)

    def begin(self, name: str, job: Callable[[], None]) -> None:
        """See `Crew`."""
        self._spare.begin(name, job)

    def do(self, errand: Errand) -> None:
        """See `Crew`."""
        match errand:
            case Tell(level, event, message, fields):
                self._log.write(level, event, message, fields)
            case TellKubernetes(news):
                if self._reporter is not None:
                    self._reporter.tell(news)
            case Probe(probings):
                self._probes.follow(probings)
            case Keep() | Clear() | Announce():
                self._host.take_up(errand)
            case AskPod(every):
                self._pod.ask(every=every)
            case AskNotice():
                self._imds.hurry()

    def ask_peers(self, addresses: Mapping[str, Address], doubted: frozenset[str]) -> None:
        """See `Crew`."""
        self._askers.follow(addresses, doubted)
