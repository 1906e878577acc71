"""Pages in a real browser: what they ask for and complain of, and whether whoever sees little can read them."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ec2 import PROFILES
from lab.history import History
from lab.pages import report
from lab.pages.chromium import LOOKS, PROGRAM, Chromium
from lab.pages.screenshots import read
from lab.run.region import Region
from tests.lab.test_pages import HISTORY

AXE = Path(__file__).parents[2] / ".axe" / "axe.min.js"

pytestmark = pytest.mark.skipif(
    PROGRAM is None or not AXE.exists(), reason="Chromium or axe-core is not here: `make test-page` gets them"
)

GRAVE = ("serious", "critical")
"""Findings of axe-core that are none are `moderate` and `minor`."""


PEACE = 12.0
"""Seconds after which all observers have told each other."""


def audit(chromium: Chromium) -> list[str]:
    """What is wrong with the page that is open, at all widths, in light and in dark."""
    wrong = [f"it asked for {url}" for url in chromium.requests[1:]]
    wrong += [f"it complained: {said}" for said in chromium.complaints]
    for looks in LOOKS:
        chromium.look(looks)
        wide = chromium.evaluate("document.documentElement.scrollWidth")
        if wide > looks.width:
            wrong.append(f"{looks}: it is {wide} pixels wide")
        chromium.evaluate(f"{AXE.read_text(encoding='utf-8')}; null")
        found = chromium.evaluate("axe.run().then(found => found.violations)")
        for each in (each for each in found if each["impact"] in GRAVE):
            wrong.append(f"{looks}: {each['id']}: {each['help']}: {[node['html'] for node in each['nodes']]}")
    return wrong


def test_the_observers_page_before_during_and_after_a_failover(in_sandbox: None) -> None:
    """Without a script it tells all the time how it is, who has it, and in the end what happened."""
    titles = {}
    with History() as history, Region(PROFILES["typical"], history, workers=3) as region:
        for moment, chromium in read(region, PEACE):
            assert not (wrong := audit(chromium)), "\n".join((moment, *wrong))
            titles[moment], said = chromium.evaluate("[document.title, document.body.innerText]")
            assert_guarded(chromium)
        assert "R3, from" in said
    assert titles == {"before": "healthy: lab", "during": "down: lab", "after": "degraded: lab"}


def assert_guarded(chromium: Chromium) -> None:
    """Whatever were slipped into the page: no script of it runs, and nothing is loaded."""
    for tag, content in (("script", "textContent"), ("img", "src")):
        chromium.evaluate(
            f"planted = document.createElement('{tag}'); planted.{content} = 'document.title = 1'; "
            "document.body.append(planted); null"
        )
    assert [said for said in chromium.complaints if "Content Security Policy" in said] == chromium.complaints
    assert len(chromium.complaints) == 2
    assert chromium.evaluate("document.title") != "1"


@pytest.fixture(name="chromium", scope="module")
def _chromium() -> Iterator[Chromium]:
    with Chromium() as chromium:
        yield chromium


class Site(http.server.ThreadingHTTPServer):
    """Serves one page, and nothing else."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page = ""
        self.url = f"http://127.0.0.1:{self.server_port}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        body = self.server.page.encode() if self.path == "/" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """To nobody."""


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    with Site() as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield site
        site.shutdown()


def test_a_labs_report(chromium: Chromium, site: Site) -> None:
    site.page = report.html(HISTORY)
    chromium.open(site.url)
    assert audit(chromium) == []


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ('<p style="color:#999;background:#fff">pale</p>', "color-contrast"),
        ("<input>", "label"),
        ('<img alt="" src="/elsewhere.png">', "it asked for"),
        ('<img alt="" src="data:image/png,broken"><svg><path d="broken"/></svg>', "it complained"),
        ('<div style="width:500px">wide</div>', "400-light: it is"),
    ],
)
def test_what_is_wrong_with_a_page_is_found(chromium: Chromium, site: Site, planted: str, found: str) -> None:
    """And nothing in the same without it."""
    whole = '<!doctype html><html lang="en"><title>page</title><body><main><h1>page</h1>{}</main></body></html>'
    site.page = whole.format("")
    chromium.open(site.url)
    assert audit(chromium) == []
    site.page = whole.format(planted)
    chromium.open(site.url)
    assert any(found in each for each in audit(chromium)), json.dumps(audit(chromium))
