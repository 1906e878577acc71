"""A whole agent, fed by hand: what happened goes in, at times that the test chooses, and what it asks for comes out."""

import random
from dataclasses import replace

from floatingip.agent.agent import Agent
from floatingip.agent.effects import Effect, End, Publish
from floatingip.agent.events import Event, Looked, Reconciled
from floatingip.agent.looks import Seen
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.model import Carry, Target
from floatingip.core.settings import Settings
from floatingip.core.snapshot import Snapshot
from tests.core.nodes import ADDRESS, IDENTITY, ME, NAME, OTHER, SOUND, SUBNET, WALL, eni, instance
from tests.core.told import Told


class Node:
    """A worker, the time there, and what its agent asked for."""

    def __init__(self, *others: Target, observes: bool = True, seed: int = 1, carry: Carry = Carry.ENI) -> None:
        self.now = 100.0
        settings = Settings((ADDRESS, *others), name=NAME, service="", carry=carry)
        chance = random.Random(seed).uniform
        self.agent = Agent(settings, IDENTITY, observes=observes, started_at=self.now, chance=chance)
        self.told = Told()

    def handle(self, *events: Event, after: float = 0.0) -> tuple[Effect, ...]:
        """So many seconds later, this has happened; what is asked for because of it."""
        self.now += after
        effects = self.agent.handle(events, self.now, WALL + self.now)
        self.told.add(effects)
        return effects

    def seen(self, **shown: object) -> Seen:
        """What EC2 answers now: these of its fields, no interface unless it is among them, and the subnet."""
        nothing = Seen(self.now, {}, (), frozenset(), frozenset(), "", {}, (SUBNET,), {})
        return replace(nothing, **shown)  # type: ignore[arg-type]  # the test names fields of Seen

    def looked(self, holder: str = "", **tags: str) -> tuple[Effect, ...]:
        """EC2 shows our ENI at this instance, or free; other ``tags``: it is not ours."""
        shown = eni(holder=holder, tags=tags or {OWNER_TAG: NAME})
        instances = {ME: instance(ME), OTHER: instance(OTHER, address="10.0.0.10")}
        seen = self.seen(enis={ADDRESS: shown}, ours=frozenset({shown.id}), instances=instances)
        return self.handle(Looked(seen), after=0.1)

    @property
    def published(self) -> Snapshot:
        """What others may know."""
        return [effect for effect in self.told.effects if isinstance(effect, Publish)][-1].snapshot

    def hold(self) -> None:
        """It has the address, and carries it."""
        self.looked(ME)
        self.handle(Reconciled(ADDRESS, SOUND), after=0.1)

    def ends(self, within: float) -> End | None:
        """How it ends by then, if it does."""
        until = self.now + within
        while self.now < until:
            self.now = min(until, max(self.now, self.agent.due()))
            for effect in self.handle():
                if isinstance(effect, End):
                    return effect
            self.now += 0.01
        return None
