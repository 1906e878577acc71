"""
Debian's headless Chromium, as a reader of pages: how they look, what they request, what errors they cause.

It is controlled over two pipes, by Chrome's DevTools protocol: so it needs neither a port nor a driver, and may be in
any network namespace.  Pages' own scripts are switched off; `evaluate` works all the same.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lab.resource import Resource

PROGRAM = shutil.which("chromium")
"""Its path, None if it is not installed."""

OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    # Its own sandbox fails: it already runs in a user namespace or a container, or as root.
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    # Otherwise it would connect to hosts of its maker.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

ANSWERS_WITHIN = 60.0
"""Seconds within which one command must be answered, on a busy machine."""

ENDS_WITHIN = 10.0
"""Seconds within which it must end; then it is killed."""

HEIGHT = 900
"""The height of the window, in pixels."""

Scheme = Literal["light", "dark"]


class ChromiumFailed(Exception):
    """Chromium did not start, has ended, refused a command, or did not answer in time; the message says which."""


@dataclass(frozen=True)
class Looks:
    """A window's width in pixels, and the colour scheme that its reader prefers."""

    width: int
    scheme: Scheme

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"


LOOKS = tuple(Looks(width, scheme) for width in (400, 1600) for scheme in ("light", "dark"))
"""The looks that pages are made for."""


class Chromium(Resource):
    """One Chromium with one tab.  ``enter`` turns its command line into one that runs it elsewhere (`Namespace.argv`).

    All its methods raise ChromiumFailed.
    """

    def __init__(self, enter: Callable[[Sequence[str]], Sequence[str]] = tuple) -> None:
        self._enter = enter
        self._made = ExitStack()
        self._profile = ""
        self._asks = self._answers = -1
        self._received = b""
        self._last, self._session = 0, ""
        self._events: list[Mapping[str, Any]] = []

    def _build(self) -> None:
        if PROGRAM is None:
            raise ChromiumFailed("chromium is not installed: `make browser`")
        # Chromium may write there until it has ended, and a little longer: hence ignore_cleanup_errors.
        self._profile = self._made.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        asked, self._asks = os.pipe()
        self._answers, answered = os.pipe()
        for handle in (self._asks, self._answers):
            self._made.callback(os.close, handle)
        # The protocol uses file descriptors 3 (commands) and 4 (answers).
        placed = ["bash", "-c", f'exec "$@" 3<&{asked} 4>&{answered}', "chromium"]
        command = [*placed, PROGRAM, *OPTIONS, f"--user-data-dir={self._profile}", "about:blank"]
        with Path(self._profile, "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                self._enter(command), pass_fds=(asked, answered), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._made.callback(_end, process)
        # As long as copies of its ends are open here, the pipes do not show that Chromium has ended.
        os.close(asked)
        os.close(answered)
        tab = self._do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._do("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._do(f"{domain}.enable")
        self._let_scripts_run(False)

    def close(self) -> None:
        """End Chromium, and remove its profile.  Idempotent."""
        self._made.close()

    def open(self, url: str) -> None:
        """Load a page; requests and complaints are those since then."""
        self._events.clear()
        if failed := self._do("Page.navigate", url=url).get("errorText"):
            raise ChromiumFailed(f"{url}: {failed}")
        while not self._told("Page.loadEventFired"):
            self._events.append(self._next(time.monotonic() + ANSWERS_WITHIN))

    def look(self, looks: Looks) -> None:
        """Show pages with these looks from now on."""
        self._do(
            "Emulation.setDeviceMetricsOverride", width=looks.width, height=HEIGHT, deviceScaleFactor=1, mobile=False
        )
        self._do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": looks.scheme}])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; if it is a promise, the value that it resolves to."""
        self._let_scripts_run(True)
        try:
            found = self._do("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        finally:
            self._let_scripts_run(False)
        if "exceptionDetails" in found:
            raise ChromiumFailed(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def picture(self) -> bytes:
        """A picture of the whole page, as PNG."""
        size = self._do("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        taken = self._do("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(taken["data"])

    @property
    def requests(self) -> list[str]:
        """The URLs of all requests of the page, its own first."""
        return [event["request"]["url"] for event in self._told("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """What the page's console shows: errors and warnings of the page and of Chromium."""
        entries = (event["entry"] for event in self._told("Log.entryAdded"))
        calls = (event for event in self._told("Runtime.consoleAPICalled") if event["type"] in ("error", "warning"))
        return [
            *(f"{entry['text']} {entry.get('url', '')}" for entry in entries if entry["level"] in ("error", "warning")),
            *(str(call["args"]) for call in calls),
            *(str(event["exceptionDetails"]) for event in self._told("Runtime.exceptionThrown")),
        ]

    def _let_scripts_run(self, on: bool) -> None:
        self._do("Emulation.setScriptExecutionDisabled", value=not on)

    def _told(self, method: str) -> list[Mapping[str, Any]]:
        return [event["params"] for event in self._events if event["method"] == method]

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        command: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        deadline = time.monotonic() + ANSWERS_WITHIN
        try:
            _write(self._asks, json.dumps(command).encode() + b"\0")
        except BrokenPipeError:
            raise self._ended() from None
        while (answer := self._next(deadline)).get("id") != self._last:
            self._events.append(answer)
        if "error" in answer:
            raise ChromiumFailed(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self, deadline: float) -> Mapping[str, Any]:
        """The next message: an answer or an event."""
        while b"\0" not in self._received:
            if not select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise ChromiumFailed(f"no answer within {ANSWERS_WITHIN:g} s")
            more = os.read(self._answers, 1 << 16)
            if not more:
                raise self._ended()
            self._received += more
        message, _, self._received = self._received.partition(b"\0")
        told: Mapping[str, Any] = json.loads(message)
        return told

    def _ended(self) -> ChromiumFailed:
        said = Path(self._profile, "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return ChromiumFailed(f"chromium has ended: {said[-1] if said else 'it said nothing'}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _write(handle: int, message: bytes) -> None:
    while message:
        message = message[os.write(handle, message) :]
