"""The effects that parts of the agent ask for, in their order, until the agent hands them over."""

from __future__ import annotations

from floatingip.agent.effects import Effect, Level, Tell


class Outbox:
    """Collects effects.  Lines of the log have ``fields`` in common, as of all that is told of one address."""

    def __init__(self, effects: list[Effect] | None = None, fields: dict[str, object] | None = None) -> None:
        self._effects: list[Effect] = [] if effects is None else effects
        self._fields = fields or {}

    def about(self, **fields: object) -> Outbox:
        """The same, with these fields in every line."""
        return Outbox(self._effects, {**self._fields, **fields})

    def add(self, effect: Effect) -> None:
        """Ask for this."""
        self._effects.append(effect)

    def empty(self) -> tuple[Effect, ...]:
        """All that was asked for since the last time."""
        effects = tuple(self._effects)
        self._effects.clear()
        return effects

    def info(self, event: str, message: str = "", /, **fields: object) -> None:
        """Something happened as it should."""
        self._tell(Level.INFO, event, message, fields)

    def warning(self, event: str, message: str = "", /, **fields: object) -> None:
        """Something that the agent copes with, but that somebody should know."""
        self._tell(Level.WARNING, event, message, fields)

    def error(self, event: str, message: str = "", /, **fields: object) -> None:
        """Something that only a person can mend."""
        self._tell(Level.ERROR, event, message, fields)

    def _tell(self, level: Level, event: str, message: str, fields: dict[str, object]) -> None:
        self._effects.append(Tell(level, event, message, {**self._fields, **fields}))
