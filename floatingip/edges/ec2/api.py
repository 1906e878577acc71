"""
How a call to EC2 is made: it is counted, in a thread of its own, and page after page; its errors are mapped to ours.

A part of ``ec2``.  A question is repeated while it is unanswered; a write is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from floatingip.core.errors import CloudError, CloudUnavailable, Denied
from floatingip.edges import clock
from floatingip.edges.ec2.asking import Asking
from floatingip.edges.ec2.meaning import MEANING, code_of, meaning
from floatingip.edges.tally import Tally

MOST_PAGES, LONGEST_LISTING = 200, 60.0
"""Pages of one answer, at most, and seconds within which the last page must be asked for: more would never end."""

T = TypeVar("T")
U = TypeVar("U")


class Api:
    """Makes calls, each under the name of its action; ``tally`` counts the attempts."""

    def __init__(self, asking: Asking, tally: Tally | None = None) -> None:
        self._asking = asking
        self._tally = tally or Tally()

    def ask(self, action: str, call: Callable[[], T], read: Callable[[T], U]) -> U:
        """Ask a question that changes nothing; return what ``read`` makes of the answer."""
        with meaning(action):
            return read(self._asking.ask(action, partial(self._count, action, call), repeatable=True))

    def write(self, action: str, call: Callable[[], T], codes: Mapping[str, type[CloudError]] = MEANING) -> T:
        """Make a call that changes something, once; return its answer."""
        with meaning(action, codes):
            return self._asking.ask(action, partial(self._count, action, call), repeatable=False)

    def pages(self, action: str, call: Callable[..., Mapping[str, Any]], key: str, **asked: Any) -> list[Any]:
        """The items that all pages of the answer have under ``key``; each page is a call of its own."""
        return self.all_pages(action, partial(call, **asked), lambda answer: answer[key])

    def all_pages(
        self, action: str, call: Callable[..., Mapping[str, Any]], read: Callable[[Mapping[str, Any]], list[T]]
    ) -> list[T]:
        """The items that ``read`` makes of all pages of the answer.  Raises ``CloudUnavailable`` if they do not end."""
        found: list[T] = []
        tokens: list[str] = []
        began_at = clock.now()
        while len(tokens) < MOST_PAGES and clock.now() - began_at < LONGEST_LISTING:
            more = {"NextToken": tokens[-1]} if tokens else {}
            items, token = self.ask(
                action, partial(call, **more), lambda answer: (read(answer), answer.get("NextToken") or "")
            )
            found.extend(items)
            if not token:
                return found
            if token in tokens:
                break
            tokens.append(token)
        raise CloudUnavailable(f"{action}: the answer has no end, after {len(tokens)} pages")

    def _count(self, action: str, call: Callable[[], T]) -> T:
        """Make one attempt, and count it with its code and duration."""
        began_at, code = clock.now(), "ok"
        try:
            return call()
        except BaseException as error:
            code = code_of(error)
            raise
        finally:
            self._tally.called(action, code, clock.now() - began_at)


def denied(dry_runs: Iterable[Callable[[], object]]) -> tuple[str, ...]:
    """The IAM actions that the dry runs show denied.  Raises ``CloudUnavailable``."""
    found: list[str] = []
    for dry_run in dry_runs:
        try:
            dry_run()
        except Denied as error:
            found.append(error.action)
        except CloudUnavailable:
            raise
        except CloudError:
            # The action is allowed: a dry run that would succeed ends with an error, too (DryRunOperation).
            continue
    return tuple(found)
