"""The kernel's answers, cut, spoilt and doubled on their way: read, or an error of one line; never for ever."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floatingip.core.errors import HostError
from floatingip.core.plumbing import Plumbing
from floatingip.edges.kernel import addresses, links, netlink, path, probe_route, routes, rules
from floatingip.edges.kernel.inspection import KernelInspection
from floatingip.edges.kernel.links import Link
from floatingip.edges.kernel.netlink import Netlink, attribute, attributes, mapped
from tests.hostile.strategies import several

LOOPBACK = IPv4Address("127.0.0.1")
PLUMBING = Plumbing(LOOPBACK, "00:00:00:00:00:00", LOOPBACK, "00:00:00:00:00:00", 254, 0, 0x40, 0x70)

Spoil = Callable[[bytes], bytes]


def _cut(at: float, to: float, new: bytes) -> Spoil:
    def spoil(said: bytes) -> bytes:
        first, last = sorted((int(at * len(said)), int(to * len(said))))
        return said[:first] + new + said[last:]

    return spoil


def _set(at: float, value: int) -> Spoil:
    def spoil(said: bytes) -> bytes:
        place = int(at * (len(said) - 4))
        return said[:place] + struct.pack("=I", value) + said[place + 4 :]

    return spoil


HEADS = {16: 16, 20: 8, 24: 12, 32: 12}
"""Bytes before the attributes, by the type of what is told: a link, an address, a route, a rule."""


def _other_value(kind: int, value: bytes) -> Spoil:
    """All is sound, but that attributes of this type have this value everywhere."""

    def spoil(said: bytes) -> bytes:
        told = b""
        while said:
            length, shown = struct.unpack_from("=IH", said)
            body = said[16:length]
            if (head := HEADS.get(shown)) is not None:
                parts = [(each, value if each == kind else own) for each, own in attributes(body[head:])]
                body = body[:head] + b"".join(attribute(each, own) for each, own in parts)
            told += struct.pack("=I", 16 + len(body)) + said[4:16] + body
            said = said[(length + 3) & ~3 :]
        return told

    return spoil


share = st.floats(0, 1)
spoils: st.SearchStrategy[Spoil] = st.one_of(
    st.builds(_other_value, st.integers(0, 30), st.binary(max_size=20)),
    st.builds(_cut, share, share, st.binary(max_size=16)),
    st.builds(_set, share, st.integers(0, 2**32 - 1)),
    st.builds(_set, share, st.integers(0, 64)),
)
"""An attribute is another one; or a piece is gone, or is another one; or a number, which may be a length or a type."""


class OddKernel(Netlink):
    """The real one, which is only asked, and whose answers are spoilt."""

    spoil: Spoil = staticmethod(lambda said: said)

    def _receive(self) -> bytes:
        return self.spoil(super()._receive())


@pytest.fixture(name="kernel")
def _kernel() -> Iterator[OddKernel]:
    kernel = OddKernel()
    yield kernel
    kernel.close()


@contextmanager
def spoilt(kernel: OddKernel, spoil: Spoil) -> Iterator[None]:
    """For as long; an answer of which the end is missing is not awaited for long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netlink, "ANSWER_WITHIN", 0.02)
        patch.setattr(kernel, "spoil", spoil)
        kernel.close()
        yield
    kernel.close()


def _loopback(kernel: Netlink) -> Link:
    found = links.find(kernel, PLUMBING.mac, {})
    assert found is not None
    return found


QUESTIONS: dict[str, Callable[[OddKernel, Link], object]] = {
    "link": lambda kernel, _: links.find(kernel, PLUMBING.mac, {}),
    "addresses": lambda kernel, link: [addresses.of_family(kernel, LOOPBACK), addresses.has(kernel, LOOPBACK, link)],
    "routes": lambda kernel, _: _all_of_routes(kernel),
    "rules": lambda kernel, _: [rules.foreign(rules.of_family(kernel, PLUMBING), PLUMBING)],
    "way": lambda kernel, _: path.way(kernel, LOOPBACK),
    "forwards": lambda kernel, _: path.forwards(kernel, 4),
    "probe-route": lambda kernel, link: probe_route.blind(kernel, LOOPBACK, link),
}


def _all_of_routes(kernel: OddKernel) -> object:
    there = routes.in_table(kernel, LOOPBACK, 254)
    return [
        [routes.read(message) for message in there],
        routes.to(LOOPBACK, there),
        routes.refusal(PLUMBING, there),
        there and routes.described(there),
    ]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_real_kernel_is_understood(kernel: OddKernel, question: str) -> None:
    """Or the tests below could not fail."""
    QUESTIONS[question](kernel, _loopback(kernel))


@pytest.mark.parametrize("question", QUESTIONS)
@given(spoil=spoils)
@example(spoil=_set(0.703125, 5))
def test_whatever_the_kernel_answers_is_read_or_is_an_error_of_one_line(
    kernel: OddKernel, question: str, spoil: Spoil
) -> None:
    """And the next question is understood again."""
    link = _loopback(kernel)
    told = ""
    try:
        with spoilt(kernel, spoil), mapped(question):
            QUESTIONS[question](kernel, link)
    except HostError as error:
        told = str(error)
    assert "\n" not in told
    assert len(told) < 200
    assert _loopback(kernel) == link


@several(2)
@given(spoil=spoils)
def test_the_doctor_reads_on_or_is_told_that_it_cannot(kernel: OddKernel, spoil: Spoil) -> None:
    inspection = KernelInspection()
    inspection._netlink = kernel
    told: list[object] = []
    try:
        with spoilt(kernel, spoil):
            told += [inspection.link("00:00:00:00:00:00"), *inspection.of_others(1, ()), *inspection.rules_on(0x70)]
            told += inspection.strays((840,), (900, 901), ())
    except HostError as error:
        told.append(error)
    assert "\n" not in "".join(map(str, told))
