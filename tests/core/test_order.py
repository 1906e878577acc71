"""A handover on request, as a tag says it: what is read is what was meant, and everything else is no order."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core.decision.carry import way_to
from floatingip.core.decision.order import ANYBODY, TAG, Order, parse, render, successor
from floatingip.core.model import Allocation, Carry

ATTACHMENT = "eni-attach-0123456789abcdef0"
DEADLINE = 1_764_000_120


@pytest.mark.parametrize("to", [ANYBODY, "i-0fedcba9876543210"])
def test_an_order_is_read_as_it_was_written(to: str) -> None:
    """Until its deadline, and at it."""
    value = render(ATTACHMENT, to, DEADLINE + 0.9)
    for wall in (DEADLINE - 120.0, float(DEADLINE)):
        assert parse(value, ATTACHMENT, wall) == Order(ATTACHMENT[-9:], to, DEADLINE)
    assert len(value) <= 256, "the most that a tag can have"


def test_an_order_is_for_one_attachment_and_ends() -> None:
    """After its deadline nobody needs to take it back; once it is carried out it means nothing to the new holder."""
    assert parse(render(ATTACHMENT, ANYBODY, DEADLINE), ATTACHMENT, DEADLINE + 0.1) is None
    assert parse(render(ATTACHMENT, ANYBODY, DEADLINE), "eni-attach-00000000000000001", DEADLINE - 1) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "true",
        f"{ATTACHMENT[-9:]}>@{DEADLINE}",
        f"{ATTACHMENT[-9:]}>worker-b@{DEADLINE}",
        f"{ATTACHMENT[-9:]}>*@soon",
        f"{ATTACHMENT[-9:]}>*@{DEADLINE} ",
        f"{ATTACHMENT[-9:]}>*@\N{ARABIC-INDIC DIGIT NINE}{DEADLINE}",
        f"{ATTACHMENT}>*@{DEADLINE}",
    ],
)
def test_what_anybody_else_writes_into_the_tag_is_no_order(value: str) -> None:
    """And no error: whoever may write tags must not be able to stop the observers."""
    assert parse(value, ATTACHMENT, DEADLINE - 1) is None


def test_an_order_names_anybody_or_one() -> None:
    assert Order("a", ANYBODY, 0).names("i-b")
    assert Order("a", "i-b", 0).names("i-b")
    assert not Order("a", "i-c", 0).names("i-b")


def test_each_address_of_a_standing_eni_has_an_order_of_its_own() -> None:
    """An ENI that moves has one address, and needs no more than one tag."""
    targets = (IPv4Address("10.0.0.100"), IPv6Address("2001:db8::64"), Allocation("eipalloc-0123abcd"))
    assert {way_to(Carry.ENI).of_one(TAG, target) for target in targets} == {"floatingip/to"}
    assert [way_to(Carry.ADDRESS).of_one(TAG, target) for target in targets] == [
        "floatingip/to/10.0.0.100",
        "floatingip/to/2001:db8::64",
        "floatingip/to/eipalloc-0123abcd",
    ]


def test_a_free_eni_waits_for_the_one_that_its_order_names() -> None:
    """Also after the detach, when there is no attachment any more; for anybody, or nobody any more, nobody waits."""
    value = render(ATTACHMENT, "i-0b", DEADLINE)
    assert successor(value, DEADLINE - 60.0) == "i-0b"
    assert successor(value, DEADLINE + 1.0) == ""
    assert successor(render(ATTACHMENT, ANYBODY, DEADLINE), DEADLINE - 60.0) == ""
    assert successor("", DEADLINE) == ""
