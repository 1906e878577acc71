"""The line from an observer to EC2: it records each call, and a test may have something happen to a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from floatingip.core.errors import CloudError, CloudUnavailable, Denied

if TYPE_CHECKING:
    from tests.sim.observer import Observer

WRITES = frozenset({
    "create_eni", "attach_eni", "detach_eni", "delete_eni", "assign", "assign_any", "unassign", "associate",
    "tag_eni", "set_security_groups", "keep_after_termination", "check_source",
})  # fmt: skip
"""The calls of `ports.Cloud` that change something."""


@dataclass
class Call:
    """A call of `ports.Cloud`: when it was made, by which worker's observer, and the error, if EC2 refused it."""

    at: float
    by: str
    name: str
    args: tuple[object, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    error: CloudError | None = None


class Killed(BaseException):
    """Ends what an observer was doing when it was killed."""


class Hung(BaseException):
    """The call hangs: EC2 does not answer it."""


def nothing(call: Call) -> None:
    """A `Happening` that does nothing."""


def fails(call: Call) -> None:
    """Before the call: EC2 fails or throttles it.  After the call: its answer is lost."""
    raise CloudUnavailable(f"{call.name}: RequestLimitExceeded")


def is_denied(call: Call) -> None:
    """IAM does not allow the call."""
    raise Denied(f"ec2:{call.name}")


def hangs(call: Call) -> None:
    """No answer comes, until the caller gives up."""
    raise Hung


Happening = Callable[[Call], None]


@dataclass
class Trouble:
    """
    What happens at each call with one of these ``names`` (none: at all calls), ``before`` it is made and ``after``.

    Only at calls of the worker ``by``, unless that is empty.  The first ``spared`` calls are left alone; after ``most``
    hits it is over.
    """

    names: frozenset[str]
    before: Happening = nothing
    after: Happening = nothing
    by: str = ""
    spared: int = 0
    most: float = float("inf")
    hits: int = 0

    def end(self) -> None:
        """End the trouble."""
        self.most = float(self.hits)

    def strikes(self, call: Call) -> bool:
        """Whether the trouble hits this call; if so, that counts as a hit."""
        if (self.names and call.name not in self.names) or self.by not in ("", call.by) or self.hits >= self.most:
            return False
        if self.spared:
            self.spared -= 1
            return False
        self.hits += 1
        return True


class Line:
    """
    The `ports.Cloud` of an observer.

    ``gives_up``: the name of the call that it has waited for in vain.  It no longer waits for calls of that name, nor
    for others that hang.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.gives_up: str | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._make, name, getattr(self._observer.worker.cloud, name))

    def _make(self, name: str, make: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self._observer.slowly is not None:
            return self._observer.slowly.answer(name, partial(self._make_now, name, make, *args, **options))
        return self._make_now(name, make, *args, **options)

    def _make_now(self, name: str, make: Callable[..., Any], *args: Any, **options: Any) -> Any:
        observer, fleet = self._observer, self._observer.worker.fleet
        if name == self.gives_up:
            raise CloudUnavailable(f"{name}: no answer in time")
        call = Call(fleet.now, observer.worker.name, name, args, options)
        fleet.recorded.append(call)
        fleet.called(call)
        troubles = [trouble for trouble in fleet.troubles if trouble.strikes(call)]
        try:
            for trouble in troubles:
                trouble.before(call)
            if not observer.is_alive:
                raise Killed
            answer = make(*args, **options)
            for trouble in troubles:
                trouble.after(call)
        except CloudError as error:
            call.error = error
            raise
        except Hung:
            call.error = CloudUnavailable(f"{name}: no answer in time")
            if self.gives_up is None:
                self.gives_up = name
                raise
            raise call.error from None
        return answer
