"""The timeline is told by many threads, none of which may end for want of a reader; the run ends then."""

import errno
import threading
import time
from typing import Any, NoReturn

import pytest

from lab.console import Console
from lab.run import show

EVENT: dict[str, Any] = {
    "t": 0.0, "source": "kubelet", "event": "pod", "pod": "floating-ip-1", "node": "worker-a", "phase": "Pending",
}  # fmt: skip


@pytest.mark.parametrize("code", [errno.EPIPE, errno.ENOSPC])
def test_a_run_that_nobody_reads_ends(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Whatever waits in the main thread, and not by the end of the thread that told something."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(code, "gone")

    monkeypatch.setattr(show.console, "print", fail)
    raised: list[BaseException] = []

    def tell(timeline: show.Timeline) -> None:
        try:
            timeline.show(EVENT)
            timeline.show(EVENT)
        except BaseException as error:  # noqa: BLE001 - the thread must not end by whatever it is
            raised.append(error)

    def run() -> None:
        with show.Timeline(live=True) as timeline:
            teller.append(threading.Thread(target=tell, args=(timeline,)))
            teller[0].start()
            time.sleep(30)

    teller: list[threading.Thread] = []
    with pytest.raises(OSError, match="gone"):
        run()
    teller[0].join(10.0)
    assert raised == []


def test_a_pipe_without_a_reader_is_an_error() -> None:
    """`rich` would raise SystemExit."""
    with pytest.raises(BrokenPipeError):
        Console(80).on_broken_pipe()
