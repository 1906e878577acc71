"""What the small Kubernetes runs in the image's place: it tells what it has, and does as the switches say."""

import http.server
import os
import signal
import sys
import threading
from pathlib import Path

SWITCHES, SETTINGS = Path(os.environ["SWITCHES"]), Path("/etc/floatingip/settings.yaml")


def on(switch: str) -> bool:
    return (SWITCHES / switch).exists()


def say(**fields: object) -> None:
    print(*(f"{key}={value}" for key, value in fields.items()), flush=True)


def can_write(path: Path) -> str:
    try:
        path.open("w").close()
    except OSError:
        return "no"
    return "yes"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(500 if on("not" + self.path[1:]) else 200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Not a word."""


def stop(*_: object) -> None:
    say(event="sigterm")
    if not on("stubborn"):
        os._exit(0)


def tick() -> None:
    say(event="tick")
    timer = threading.Timer(0.05, tick)
    timer.daemon = True
    timer.start()


def observe() -> None:
    signal.signal(signal.SIGTERM, stop)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    say(
        event="start",
        pid=os.getpid(),
        caps=status["CapEff"].strip(),
        bound=status["CapBnd"].strip(),
        nnp=status["NoNewPrivs"].strip(),
        ip=os.environ["FLOATING_IP"],
        node=os.environ["NODE_NAME"],
        pod=os.environ["POD_NAME"],
        home=os.environ["HOME"],
        inherited="SECRET" in os.environ,
        settings=can_write(SETTINGS),
        sysctl=can_write(Path("/proc/sys/net/ipv4/ip_forward")),
        root=can_write(Path("/etc/x")),
        etc=Path("/etc/passwd").exists(),
        lines=len(SETTINGS.read_text().splitlines()),
    )
    tick()
    print("not logfmt: käse", file=sys.stderr, flush=True)
    http.server.ThreadingHTTPServer(("0.0.0.0", 9807), Handler).serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "attach":
        say(event="attach")
        sys.exit(3 if on("attach-fails") else 0)
    observe()
