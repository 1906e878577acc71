"""Nobody waits for what hangs, and what hangs does not pile up."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from floatingip.core.errors import CloudUnavailable, NoCredentials
from floatingip.edges import clock
from floatingip.edges.ec2 import asking, credentials
from floatingip.edges.ec2.asking import Asking, interrupt_by
from floatingip.edges.ec2.credentials import Keeper

SHORT, LONG = 0.05, 30.0
"""Seconds for which these wait for what does not come, and for what does."""


class Hanging:
    """A call that hangs until it is interrupted, or told its answer."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.interrupted = threading.Semaphore(0)
        self.answer: Future[str] = Future()

    def __call__(self) -> str:
        """Hang."""
        interrupt_by(self.interrupted.release)
        self.begun.release()
        return self.answer.result(LONG)


def test_what_a_call_returns_or_raises_is_passed_on() -> None:
    ask = Asking(LONG).ask
    assert ask("Ask", lambda: "answer", repeatable=True) == "answer"
    with pytest.raises(ZeroDivisionError):
        ask("Ask", lambda: 1 / 0, repeatable=False)


@pytest.mark.parametrize("repeatable", [True, False])
def test_what_hangs_is_given_up(repeatable: bool) -> None:
    call = Hanging()
    with pytest.raises(CloudUnavailable, match="Ask: no answer within"):
        Asking(SHORT, SHORT).ask("Ask", call, repeatable=repeatable)
    call.answer.set_result("late")


def test_the_first_attempt_goes_on_so_that_a_slow_cloud_is_found_out() -> None:
    """The next question is given twice what that one took."""
    slow, ask = Hanging(), Asking(LONG, SHORT)
    with pytest.raises(CloudUnavailable):
        ask.ask("Ask", slow, repeatable=True)
    slow.answer.set_result("late")
    pace = ask._paces["Ask"]
    assert pace.late is not None
    pace.late.join(LONG)
    assert pace.seconds >= SHORT
    assert not slow.interrupted.acquire(blocking=False)


def test_the_next_attempt_that_is_given_up_is_interrupted() -> None:
    """One is enough to find out."""
    first, second, ask = Hanging(), Hanging(), Asking(LONG, SHORT)
    for call in (first, second):
        with pytest.raises(CloudUnavailable):
            ask.ask("Ask", call, repeatable=True)
    assert second.interrupted.acquire(timeout=LONG)
    assert not first.interrupted.acquire(blocking=False)
    for call in (first, second):
        call.answer.set_result("late")


def test_a_question_is_asked_anew_and_the_first_answer_ends_the_others() -> None:
    """At most three at a time."""
    hanging = [Hanging(), Hanging()]
    calls: list[Callable[[], str]] = [*hanging, lambda: "answer"]
    left = iter(calls)

    def call_next() -> str:
        return next(left)()

    assert Asking(LONG, LONG, SHORT).ask("Ask", call_next, repeatable=True) == "answer"
    for call in hanging:
        assert call.interrupted.acquire(timeout=LONG)
        call.answer.set_result("late")


def test_a_write_that_was_given_up_before_it_was_sent_is_never_sent() -> None:
    """It would undo what others did meanwhile.  The next one has the time that this one would have needed."""
    may_go_on, refused = threading.Event(), Future[BaseException]()

    def late() -> None:
        may_go_on.wait(LONG)
        try:
            interrupt_by(lambda: None)
        except CloudUnavailable as error:
            refused.set_result(error)
            raise

    ask = Asking(LONG, SHORT)
    with pytest.raises(CloudUnavailable, match="no answer"):
        ask.ask("Write", late, repeatable=False)
    may_go_on.set()
    assert "given up" in str(refused.result(LONG))
    pace = ask._paces["Write"]
    assert pace.late is not None
    pace.late.join(LONG)
    assert pace.seconds >= SHORT


def test_a_write_is_not_sent_after_the_process_has_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its decision and the network: others have gone on, and nobody here may have noticed yet."""
    now, became = [0.0], Future[str]()

    def freeze() -> None:
        now[0] += 60.0
        try:
            interrupt_by(lambda: None)
        except CloudUnavailable as error:
            became.set_result(str(error))
            raise
        became.set_result("sent")

    monkeypatch.setattr(clock, "now", lambda: now[0])
    with pytest.raises(CloudUnavailable):
        Asking(LONG).ask("Write", freeze, repeatable=False)
    assert became.result(LONG) == "given up before it was sent"


def test_attempts_that_do_not_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that hangs cannot be interrupted: then asking fails at once, until one of them ends."""
    monkeypatch.setattr(asking, "MOST_UNDER_WAY", 2)
    call, ask = Hanging(), Asking(SHORT, SHORT)
    for _ in range(2):
        with pytest.raises(CloudUnavailable, match="no answer"):
            ask.ask("Ask", call, repeatable=False)
    with pytest.raises(CloudUnavailable, match="2 earlier calls still hang"):
        ask.ask("Ask", call, repeatable=False)
    call.answer.set_result("late")


def test_an_attempt_that_cannot_begin_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once this node has room for threads again EC2 is asked again, however often there was none."""
    monkeypatch.setattr(asking, "MOST_UNDER_WAY", 1)
    ask = Asking(LONG)
    with monkeypatch.context() as without_threads:
        without_threads.setattr(asking._Attempt, "start", _no_thread)
        for _ in range(2):
            with pytest.raises(CloudUnavailable, match="Ask: not asked: can't start new thread"):
                ask.ask("Ask", lambda: "answer", repeatable=False)
    assert ask.ask("Ask", lambda: "answer", repeatable=False) == "answer"


def _no_thread(_attempt: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class Found:
    """Credentials that are good for some seconds."""

    def __init__(self, keys: str, seconds: float) -> None:
        self.keys = keys
        self.seconds = seconds

    def lasts(self, seconds: float) -> bool:
        """So long, from now on."""
        return seconds < self.seconds


def test_credentials_are_renewed_beside_those_who_use_the_old_ones() -> None:
    """Whoever gives them out hangs; the old ones are good for a minute."""
    old, renewing = Found("old", 60.0), Hanging()

    def find() -> Found:
        renewing()
        return Found("new", 3600.0)

    keeper = Keeper(find, old)
    assert keeper.keys() == "old"
    assert renewing.begun.acquire(timeout=LONG)
    assert keeper.keys() == "old"
    renewing.answer.set_result("")
    old.seconds = -1.0
    assert keeper.keys() == "new"


def test_credentials_that_ended_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause is why there are no others."""
    monkeypatch.setattr(credentials, "AGAIN_AFTER", 0.0)

    def fail() -> Found:
        raise NoCredentials("no AWS credentials: STS is down")

    with pytest.raises(CloudUnavailable, match="STS is down"):
        Keeper(fail, Found("old", -1.0)).keys()
