"""Questions that several checks need: each is asked once, by the first check that needs it, while the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")

_lock = threading.Lock()


class once(Generic[T]):
    """Decorates a method without arguments: it runs once, and every thread gets its value, or what it raised."""

    def __init__(self, question: Callable[[Any], T]) -> None:
        self.__doc__ = question.__doc__
        self._question = question
        self._name = question.__name__

    @overload
    def __get__(self, instance: None, owner: type) -> once[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> once[T] | T:
        """Ask, or wait for the thread that asks."""
        if instance is None:
            return self
        with _lock:
            answers: dict[str, Future[T]] = instance.__dict__.setdefault("_answers", {})
            is_first = self._name not in answers
            answer = answers.setdefault(self._name, Future())
        if is_first:
            try:
                answer.set_result(self._question(instance))
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is for all who ask
                answer.set_exception(error)
        return answer.result()
