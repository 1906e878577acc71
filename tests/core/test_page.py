"""The page: what stands in it, that it is whole, and that nothing in it is anybody else's."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from ipaddress import IPv4Address

import pytest

from floatingip.core.health import HealthState
from floatingip.core.move import PHASES, Result
from floatingip.core.page import RELOADS, render
from floatingip.core.snapshot import PeerSnapshot, ProbeSpan, Snapshot
from floatingip.core.status import of
from floatingip.core.word import Status
from tests.core.snapshots import HELD, NOW, OTHER_TARGET, TAKEN, WATCHED, A, B, C, full, holder, standby

EVIL = "</p><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&\x1b\u202e"


class Reader(HTMLParser):
    """What a page consists of: its text, its elements with their attributes, and what was not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.elements, self.open = "", list[tuple[str, dict[str, str | None]]](), list[str]()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One begins."""
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One without content."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """The last one ends."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text between."""
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]


def page(snapshot: Snapshot) -> Reader:
    """At NOW."""
    reader = Reader(render(snapshot, NOW))
    assert reader.open == []
    return reader


def evil() -> Snapshot:
    """Everything that others say is hostile."""
    moves = (replace(TAKEN, source=EVIL, to=EVIL, seconds={"duration": 2.0, EVIL: 1.0, "detect": -1.0}),)
    address = replace(WATCHED, sentence=EVIL, not_ready=EVIL, holder=EVIL, moves=moves)
    report = replace(of(standby(address, leaving=EVIL, node=EVIL, unknown=(EVIL,), unanswered=EVIL), NOW), instance=C)
    peer = replace(holder().peers[0], instance_id=C, report=report)
    silent = PeerSnapshot(EVIL, peer.address, None, True)
    return replace(
        full(), peers=(peer, silent), unknown=(EVIL,), leaving=EVIL, status=replace(full().status, name=EVIL)
    )


def test_it_shows_holder_standby_probes_and_moves() -> None:
    """On the standby's page, which probes."""
    reader = page(standby())
    for said in ("healthy: prod", "worker-b", A, "10.0.0.100", "0.4 ms", "240 answered, 0 lost", "answered 30 s ago"):
        assert said in reader.text or any(said in str(element) for element in reader.elements), said
    [path] = reader.named("path")
    assert path["class"] == "answered"
    assert (path["d"] or "").count("M") == len(WATCHED.probes)


def test_lost_probes_are_drawn_from_above() -> None:
    """As much of the height as was lost."""
    probes = (ProbeSpan(NOW - 10.0, 8, 0, 0.0004), ProbeSpan(NOW - 8.0, 5, 15, 0.0008), ProbeSpan(NOW - 6.0, 0, 20))
    reader = page(standby(replace(WATCHED, probes=(*probes, ProbeSpan(NOW - 301.0, 1, 1)))))
    drawn = {path["class"]: path["d"] or "" for path in reader.named("path")}
    assert re.findall(r"v(\d+\.\d)", drawn["lost"]) == ["45.0", "60.0"]
    assert re.findall(r"v-(\d+\.\d)", drawn["answered"]) == ["27.0", "54.0"]
    assert "13 answered, 35 lost; the slowest answer took 0.8 ms" in reader.text


def test_one_slow_answer_makes_no_other_invisible() -> None:
    """A tenth of the height is for each span with an answer."""
    probes = (ProbeSpan(NOW - 10.0, 8, 0, 0.0004), ProbeSpan(NOW - 8.0, 1, 0, 0.2))
    [path] = page(standby(replace(WATCHED, probes=probes))).named("path")
    assert re.findall(r"v-(\d+\.\d)", path["d"] or "") == ["6.0", "54.0"]


def test_a_move_is_a_bar_of_its_phases() -> None:
    """In the order in which they took place, and in one scale."""
    reader = page(holder())
    bars = [each for each in reader.named("rect") if each["height"] != "1"]
    assert [bar["class"] for bar in bars] == ["detect", "detach", "attach"]
    assert sum(float(bar["width"] or 0) for bar in bars) == pytest.approx(600, abs=0.2)
    assert "R3, from worker-b to worker-a, 8.0 s" in reader.text


def test_a_try_in_vain_is_told_as_one() -> None:
    """Or it would read as one more move."""
    address = replace(HELD, moves=(replace(TAKEN, result=Result.LOST_RACE),))
    assert "attach 4.2; in vain, another node was faster" in page(holder(addresses=(address,))).text


def test_what_a_peer_saw_before_an_outage_does_not_count() -> None:
    """While an address is in doubt its word is newer than its report."""
    lost = replace(WATCHED, health=HealthState.DOWN, up_as="a1")
    for sees_up, said in ((), "down: prod"), (("a1",), "degraded: prod"):
        report = replace(of(standby(), NOW), instance=C)
        peer = PeerSnapshot(C, IPv4Address("10.0.0.12"), NOW, False, Status("prod", C, sees_up=sees_up), report)
        assert page(standby(lost, peers=(peer,))).text.startswith(said)


def test_what_a_peer_was_about_to_do_before_ec2s_last_answer_does_not_count() -> None:
    """Its report may be from the middle of a failover that this node has seen the end of."""
    claiming = replace(WATCHED, holder="", state="claiming", sentence="it is free: claiming it", asked_at=NOW)
    report = replace(of(standby(claiming, answered_at=NOW - 9.0), NOW - 9.0), instance=C)
    peer = PeerSnapshot(C, IPv4Address("10.0.0.12"), NOW, False, Status("prod", C), report, reported_at=NOW - 9.0)
    reader = page(standby(replace(WATCHED, asked_at=NOW - 4.0), peers=(peer,)))
    assert "claiming" not in reader.text
    assert "no node holds it" not in reader.text
    assert "9 s ago" in reader.text


def test_a_holders_page_has_no_probes_and_says_why() -> None:
    """It would hear itself."""
    assert "a node does not probe what it holds" in page(holder()).text


def test_nothing_that_others_say_becomes_markup() -> None:
    """Nor a command to whoever looks at its source; it is shown as it was said."""
    text = render(evil(), NOW)
    reader = Reader(text)
    assert {tag for tag, _ in reader.elements} == {tag for tag, _ in page(full()).elements} | {"ul", "li"}
    assert "<script>alert(1)</script>" in reader.text
    assert {name for _, attributes in reader.elements for name in attributes if name.startswith("on")} == set()
    assert all(character.isprintable() or character == "\n" for character in text)
    classes = {each for _, attributes in reader.elements for each in (attributes.get("class") or "").split()}
    assert classes <= {
        "verdict", "healthy", "degraded", "unknown", "down", "quiet", "up", "unprobed", "yes", "no", "answered", "lost",
        "axis", "moves", "key", *PHASES,
    }  # fmt: skip


@pytest.mark.parametrize("snapshot", [standby(), holder(), full(), evil(), replace(standby(), addresses=(), peers=())])
def test_it_needs_nothing_else(snapshot: Snapshot) -> None:
    """No script, no address of anything to load."""
    text = render(snapshot, NOW)
    reader = Reader(text)
    assert reader.named("script") == []
    assert not {"src", "action", "style", "srcdoc"} & {name for _, attrs in reader.elements for name in attrs}
    [style] = re.findall(r"<style>(.*)</style>", text, flags=re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    assert {link["href"] for tag, link in reader.elements if "href" in link} == {f"?{RELOADS}"}


def test_it_reloads_itself_once_it_is_asked_to() -> None:
    """And says how to begin, and how to end it."""
    still, reloading = Reader(render(standby(), NOW)), Reader(render(standby(), NOW, reloads=True))
    refresh = {"http-equiv": "refresh", "content": "5"}
    assert (refresh in still.named("meta"), refresh in reloading.named("meta")) == (False, True)
    assert (still.named("a"), reloading.named("a")) == ([{"href": f"?{RELOADS}"}], [{"href": "?"}])


def test_who_cannot_see_it_can_read_it() -> None:
    """One heading of the first level, each table with a caption and heads, each drawing with the same in words."""
    reader = page(full())
    count = {tag: len(reader.named(tag)) for tag in ("h1", "main", "table", "caption")}
    assert (count["h1"], count["main"], count["table"]) == (1, 1, count["caption"])
    assert all(head.get("scope") in ("col", "row") for head in reader.named("th"))
    assert all(each.get("aria-label") or each.get("aria-hidden") for each in reader.named("svg"))
    assert reader.named("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in zip([0, *levels], levels, strict=False))


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG reckons it."""

    def luminance(colour: str) -> float:
        wide = "".join(c * 2 for c in colour) if len(colour) == 3 else colour
        parts = [int(wide[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_its_colours_can_be_told_from_what_they_are_on() -> None:
    """Texts by 4.5 at least, drawings by 3, in light and in dark."""
    themes = re.findall(r":root\{([^}]*--back[^}]*)\}", render(standby(), NOW), flags=re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+):#(\w+)", theme))
        for back in (colours["back"], colours["card"]):
            for text in ("text", "quiet", "good", "fair", "bad"):
                assert contrast(colours[text], back) >= 4.5, (text, back)
            for drawn in PHASES:
                assert contrast(colours[drawn], back) >= 3.0, (drawn, back)


def test_an_address_that_is_down_is_the_first_thing_that_is_read() -> None:
    """In the title, the heading, and with what is wrong."""
    reader = page(holder(addresses=(HELD, replace(HELD, target=OTHER_TARGET, not_ready="nft is missing"))))
    assert reader.text.startswith("down: prod")
    assert "its holder: nft is missing" in reader.text
    assert B in reader.text
