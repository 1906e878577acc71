"""Where the agent's parts put effects until the agent returns them, and news for Kubernetes, which may wait longer."""

from __future__ import annotations

from floatingip.agent.effects import Effect, Level, Tell
from floatingip.core.news import News


class Outbox:
    """Collects effects in their order, and news for Kubernetes."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []
        self._news: list[News] = []
        self._fields: dict[str, object] = {}

    def about(self, **fields: object) -> Outbox:
        """The same outbox, for a part whose log lines all have these fields."""
        narrowed = Outbox()
        narrowed._effects, narrowed._news, narrowed._fields = self._effects, self._news, {**self._fields, **fields}
        return narrowed

    def add(self, effect: Effect) -> None:
        """Ask for this."""
        self._effects.append(effect)

    def empty(self) -> tuple[Effect, ...]:
        """Take out all effects that were asked for since the last time."""
        effects = tuple(self._effects)
        self._effects.clear()
        return effects

    def tell_kubernetes(self, news: News) -> None:
        """Add news that people may look for in Kubernetes; bulletin.py decides when they are told."""
        self._news.append(news)

    def take_news(self) -> tuple[News, ...]:
        """Take out all news since the last time."""
        news = tuple(self._news)
        self._news.clear()
        return news

    def info(self, event: str, message: str = "", /, **fields: object) -> None:
        """Log something that happened as it should."""
        self._tell(Level.INFO, event, message, fields)

    def warning(self, event: str, message: str = "", /, **fields: object) -> None:
        """Log something that the agent copes with, but that somebody should know."""
        self._tell(Level.WARNING, event, message, fields)

    def error(self, event: str, message: str = "", /, **fields: object) -> None:
        """Log something that only a person can mend."""
        self._tell(Level.ERROR, event, message, fields)

    def _tell(self, level: Level, event: str, message: str, fields: dict[str, object]) -> None:
        self._effects.append(Tell(level, event, message, {**self._fields, **fields}))
