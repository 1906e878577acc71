"""The effects that parts of the agent ask for, in their order, until it hands them over; and its news, which wait."""

from __future__ import annotations

from floatingip.agent.effects import Effect, Level, Tell
from floatingip.core.news import News


class Outbox:
    """Collects effects.  ``fields`` are in every line of the log: those of one address have its name, for example."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []
        self._news: list[News] = []
        self._fields: dict[str, object] = {}

    def about(self, **fields: object) -> Outbox:
        """The same, with these fields in every line."""
        narrowed = Outbox()
        narrowed._effects, narrowed._news, narrowed._fields = self._effects, self._news, {**self._fields, **fields}
        return narrowed

    def add(self, effect: Effect) -> None:
        """Ask for this."""
        self._effects.append(effect)

    def empty(self) -> tuple[Effect, ...]:
        """All that was asked for since the last time."""
        effects = tuple(self._effects)
        self._effects.clear()
        return effects

    def tell_kubernetes(self, news: News) -> None:
        """Something that people may look for in Kubernetes; when it is told is for the bulletin to say."""
        self._news.append(news)

    def take_news(self) -> tuple[News, ...]:
        """All of these since the last time."""
        news = tuple(self._news)
        self._news.clear()
        return news

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
