"""What parts of an agent ask for, as tests read it: the effects, and the log's lines."""

import io

from floatingip.agent.effects import Effect, Perform, Tell
from floatingip.agent.outbox import Outbox
from floatingip.edges.telemetry import Log


class Told:
    """Reads an outbox; ``effects`` are all that were asked for so far, ``log`` the lines among them."""

    def __init__(self, out: Outbox | None = None) -> None:
        self.out = out or Outbox()
        self.effects: list[Effect] = []
        self._stream = io.StringIO()
        self._log = Log(self._stream)

    def take(self) -> tuple[Effect, ...]:
        """What was asked for since the last time."""
        effects = self.out.empty()
        self.add(effects)
        return effects

    def add(self, effects: tuple[Effect, ...]) -> None:
        """These were asked for, too."""
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Tell):
                self._log.write(effect.level, effect.event, effect.message, effect.fields)

    def performs(self) -> list[Perform]:
        """The writes that were asked for since the last time."""
        return [effect for effect in self.take() if isinstance(effect, Perform)]

    @property
    def log(self) -> str:
        """All lines so far."""
        self.take()
        return self._stream.getvalue()
