"""
Debian's headless Chromium, as a reader of pages: what they look like, what they ask for, what they complain of.

It is told what to do over two pipes, in Chrome's DevTools protocol: so it needs neither a port nor a driver, and may be
in any network namespace.  Scripts of pages are switched off; what is evaluated here runs all the same.
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
"""None where there is none."""

OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    # It is inside of a user namespace already, or of a container, or root's.
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    # It would look for its maker's hosts.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

ANSWERS_WITHIN = 60.0
"""Seconds for one command, on a machine that is busy."""

ENDS_WITHIN = 10.0
"""Seconds until it is killed."""

HEIGHT = 900
"""Pixels of the window."""

Scheme = Literal["light", "dark"]


class ChromiumFailed(Exception):
    """It did not start, ended, refused a command, or did not answer in time; the message says which."""


@dataclass(frozen=True)
class Looks:
    """A window's width in pixels, and what its reader prefers."""

    width: int
    scheme: Scheme

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"


LOOKS = tuple(Looks(width, scheme) for width in (400, 1600) for scheme in ("light", "dark"))
"""Those that pages are made for."""


class Chromium(Resource):
    """One Chromium with one tab; ``enter`` makes of its command line one that runs it elsewhere (`Namespace.argv`).

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
        # It may write there until it has ended, and a little longer.
        self._profile = self._made.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        asked, self._asks = os.pipe()
        self._answers, answered = os.pipe()
        for handle in (self._asks, self._answers):
            self._made.callback(os.close, handle)
        # The protocol's ends are 3 and 4.
        placed = ["bash", "-c", f'exec "$@" 3<&{asked} 4>&{answered}', "chromium"]
        command = [*placed, PROGRAM, *OPTIONS, f"--user-data-dir={self._profile}", "about:blank"]
        with Path(self._profile, "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                self._enter(command), pass_fds=(asked, answered), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._made.callback(_end, process)
        # Only so is it seen when it has ended.
        os.close(asked)
        os.close(answered)
        tab = self._do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._do("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._do(f"{domain}.enable")
        self._let_scripts_run(False)

    def close(self) -> None:
        """End it, and remove its profile.  Idempotent."""
        self._made.close()

    def open(self, url: str) -> None:
        """Load a page, of which all is told from here on."""
        self._events.clear()
        if failed := self._do("Page.navigate", url=url).get("errorText"):
            raise ChromiumFailed(f"{url}: {failed}")
        while not self._told("Page.loadEventFired"):
            self._events.append(self._next(time.monotonic() + ANSWERS_WITHIN))

    def look(self, looks: Looks) -> None:
        """Show the page so from here on."""
        self._do(
            "Emulation.setDeviceMetricsOverride", width=looks.width, height=HEIGHT, deviceScaleFactor=1, mobile=False
        )
        self._do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": looks.scheme}])

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page; a promise's, if it is one."""
        self._let_scripts_run(True)
        try:
            found = self._do("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        finally:
            self._let_scripts_run(False)
        if "exceptionDetails" in found:
            raise ChromiumFailed(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def picture(self) -> bytes:
        """The whole page, as PNG."""
        size = self._do("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        taken = self._do("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(taken["data"])

    @property
    def requests(self) -> list[str]:
        """The addresses of all that the page has asked for, itself first."""
        return [event["request"]["url"] for event in self._told("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """What its console shows: errors and warnings of the page's and of Chromium's."""
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
