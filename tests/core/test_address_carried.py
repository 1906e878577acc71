"""What a node would need to carry an address, by which ENI, and how IMDS tells that it is lost."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from floatingip.agent.standing import Standing
from floatingip.core import timing
from floatingip.core.decision.decision import Reason
from floatingip.core.ec2 import Eni
from floatingip.core.health import HealthState
from floatingip.core.model import Address
from floatingip.core.node import Interface
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from tests.core.nodes import (
    ADDRESS,
    ELASTIC,
    IDENTITY,
    IPV6,
    MAC,
    ME,
    OWN_MAC,
    SUBNET,
    WALL,
    Node,
    eni,
    mover,
    now,
    others,
    own,
    sharing,
)


def plumbed(made: Node) -> Plumbing:
    """What it would need; it is known."""
    plumbing = made.address.where.plumbing()
    assert plumbing is not None
    return plumbing


@pytest.mark.parametrize(
    ("index", "table", "priority", "mark"), [(0, 840, 900, 0x40), (1, 841, 902, 0x20), (2, 842, 904, 0x60)]
)
def test_each_address_has_a_table_two_priorities_and_a_mark_of_its_own(
    index: int, table: int, priority: int, mark: int
) -> None:
    """By its place in FLOATING_IP, so that they are the same on every node, whatever the device index."""
    made = Node(index=index, shared=sharing(ADDRESS, IPV6, ELASTIC))
    made.looked(eni(holder=ME))
    plumbing = plumbed(made)
    assert (plumbing.table, plumbing.priority, plumbing.mark, plumbing.mark_mask) == (table, priority, mark, 0x70)


def test_each_family_leaves_by_its_own_router() -> None:
    """The subnet's for IPv4, the VPC's for IPv6, of whose ENI the IPv4 address is not carried."""
    made = Node()
    made.looked(eni(holder=ME))
    plumbing = plumbed(made)
    assert (plumbing.address, plumbing.mac, plumbing.gateway) == (ADDRESS, MAC, IPv4Address("10.0.0.1"))
    assert plumbing.primary_mac == IDENTITY.mac
    made = Node(IPV6)
    made.looked(eni(IPV6, ME))
    plumbing = plumbed(made)
    assert (plumbing.address, plumbing.gateway) == (IPV6, IPv6Address("fe80:ec2::1"))


def test_for_an_elastic_ip_the_private_address_is_carried() -> None:
    """The node never sees the public one."""
    made = Node(ELASTIC)
    assert made.address.where.plumbing() is None
    made.looked(eni(ELASTIC, ME))
    assert plumbed(made).address == IPv4Address("10.0.0.50")


def test_while_ec2_is_silent_imds_tells_what_to_carry() -> None:
    """R9: a restart during an outage of EC2; its word counts only until EC2's does."""
    made = Node()
    assert made.address.where.plumbing() is None
    made.address.found_interface(Interface("02:00:00:00:00:99", ip_network("10.0.0.0/24")))
    plumbing = plumbed(made)
    assert (plumbing.mac, plumbing.gateway) == ("02:00:00:00:00:99", IPv4Address("10.0.0.1"))
    made.looked(eni(holder=ME))
    assert plumbed(made).mac == MAC


@pytest.mark.parametrize(
    ("make", "interface"),
    [
        (Node, Interface(IDENTITY.mac, ip_network("10.0.0.0/24"))),
        (mover, Interface(IDENTITY.mac, ip_network("10.0.0.0/24"), as_primary=False)),
        (Node, Interface("02:00:00:00:00:99", ip_network("10.0.0.0/24"), as_primary=False)),
    ],
    ids=["the node's own", "the node's own, with standing ENIs", "a pod's"],
)
def test_an_address_of_the_nodes_own_or_of_a_pod_is_never_plumbed(
    make: Callable[[], Node], interface: Interface
) -> None:
    """IMDS shows it here, as somebody gave it for FLOATING_IP; EC2 has not told yet that it is not ours."""
    made = make()
    made.shared.standings.clear()
    made.address.where.expect_at(interface)
    made.address.found_interface(interface)
    assert made.address.wanted() is None
    assert made.address._view((), 0, WALL, "").shown_by_imds is None


@pytest.mark.parametrize("floating", [ADDRESS, IPV6])
def test_the_link_of_an_eni_that_was_never_ours_is_left_alone(floating: Address) -> None:
    """A node's own IPv6 address was taken off it, as one that is not ours: so `nothing is touched` was not true."""
    made = Node(floating)
    made.looked(replace(eni(floating, ME), tags={}))
    assert made.address.wanted() is None


def test_the_link_of_an_eni_that_was_ours_is_cleared_when_it_is_given_away() -> None:
    """What was put there by this node: the tag names another deployment now."""
    made = Node()
    made.looked(eni(holder=ME))
    made.looked(replace(eni(holder=ME), tags={"floatingip": "another"}))
    assert plumbed(made).mac == MAC


CARRIED = PlumbingReport(PlumbingState.SOUND, repaired=("address",))
FOUND = PlumbingReport(PlumbingState.SOUND)
AHEAD = PlumbingReport(PlumbingState.SOUND, extent=Extent.AHEAD)


@pytest.mark.parametrize("holder", [own, others], ids=["here", "elsewhere"])
def test_the_address_is_plumbed_on_the_own_standing_eni(holder: Callable[..., Eni]) -> None:
    """Ahead of the address, too; never on the link of the ENI that has it now."""
    made = mover()
    made.looked(holder(ADDRESS))
    plumbing = plumbed(made)
    assert (plumbing.address, plumbing.mac) == (ADDRESS, OWN_MAC)


def test_before_the_own_standing_eni_is_there_nothing_can_be_plumbed() -> None:
    """EC2 has answered: what IMDS shows of another link counts no more."""
    made = mover(standing=Standing(0.0, problem="its standing ENI is being created"))
    made.looked(others(ADDRESS))
    assert made.address.where.plumbing() is None


def test_an_elastic_ip_is_carried_by_the_private_address_that_it_is_associated_with() -> None:
    """Not by the primary one of whatever ENI has it."""
    made = mover(ELASTIC)
    assert made.address.where.plumbing() is None
    private = IPv4Address("10.0.0.70")
    made.looked(others(private, elastic={private: ELASTIC.id}))
    plumbing = plumbed(made)
    assert (plumbing.address, plumbing.mac) == (private, OWN_MAC)
    assert made.address.answers.address == private


def test_what_is_seen_up_is_told_with_the_address() -> None:
    """An attachment of a standing ENI may have several."""
    made = mover()
    made.looked(others(ADDRESS))
    made.address.answers.health = replace(made.address.answers.health, state=HealthState.UP)
    assert made.address.sees_up() == f"at-a/{ADDRESS}"


def test_an_address_that_was_just_assigned_is_a_burden_before_ec2_shows_it() -> None:
    """Or a node would take all of a dead holder's addresses at the same moment."""
    made = mover()
    made.looked(None)
    assert made.step() == Reason.FREE.name
    assert made.address.burdens()


def lacking(made: Node, *answers: frozenset[Address], since: float | None = None) -> float | None:
    """What the watch believes after these answers of IMDS, a second apart, and since when: counted from the first."""
    first = now() if since is None else since
    for at, addresses in enumerate(answers):
        made.address.found_addresses(OWN_MAC, addresses, first + at)
    lost_at = made.address._view((), 0, WALL, "").lost_until_asked_at
    return None if lost_at is None else round(lost_at - first, 2)


LOST_AFTER = 3.0 + timing.CLAIM_SHOWN
"""Seconds from IMDS' first answer to when EC2 no longer shows what IMDS lacks for the third time."""

HAS, LACKS = frozenset({ADDRESS, IPv4Address("10.0.0.61")}), frozenset({IPv4Address("10.0.0.61")})


def holding(made: Node) -> Node:
    """The address is on this node's link."""
    made.looked(own(ADDRESS))
    made.address.reconciled(CARRIED, now())
    return made


def test_three_answers_of_imds_without_the_address_mean_that_it_is_lost() -> None:
    """But only if it was shown before: IMDS is late with what is new."""
    assert lacking(holding(mover()), HAS, LACKS, LACKS) is None
    assert lacking(holding(mover()), HAS, LACKS, LACKS, LACKS) == LOST_AFTER
    assert lacking(holding(mover()), LACKS, LACKS, LACKS, LACKS) is None
    assert lacking(holding(mover()), HAS, LACKS, LACKS, HAS, LACKS, LACKS) is None


def test_what_was_found_on_the_link_is_lost_without_having_been_shown() -> None:
    """As of the first answer that lacks it: what EC2 has said since counts more."""
    made = mover()
    made.address.reconciled(FOUND, now())
    assert lacking(made, LACKS, LACKS) is None
    assert lacking(made, LACKS, LACKS, LACKS) == 0.0
    made = mover()
    made.address.reconciled(FOUND, now())
    assert lacking(made, HAS, LACKS, LACKS, LACKS) == LOST_AFTER


def test_what_imds_never_shows_is_lost_when_that_lasts_for_long() -> None:
    """And speaks of a time that long ago."""
    made, first = holding(mover()), now()
    for after in (0.0, 1.0, timing.IMDS_LATE - 1.0):
        assert lacking(made, LACKS, since=first + after) is None
    assert lacking(made, LACKS, since=first + timing.IMDS_LATE + 5.0) == -timing.IMDS_LATE


def test_the_address_on_a_standing_eni_that_is_being_detached_can_be_lost() -> None:
    """Its plumbing is known, and IMDS is asked, until it has gone."""
    made = holding(mover())
    made.shared.standings[SUBNET.id] = Standing(0.0, bound=own(), problem="its standing ENI is being detached")
    assert made.address.where.plumbing() is not None
    assert made.address.mac_at_risk() == OWN_MAC
    assert lacking(made, HAS, LACKS, LACKS, LACKS) == LOST_AFTER


def test_an_address_that_comes_anew_has_not_been_shown_by_imds_yet() -> None:
    """What IMDS showed the last time is no promise."""
    made = holding(mover())
    assert lacking(made, HAS, LACKS, LACKS, LACKS) == LOST_AFTER
    made.address.reconciled(AHEAD, now())
    made.address.reconciled(CARRIED, now())
    assert lacking(made, LACKS, LACKS, LACKS) is None


def test_what_imds_was_asked_before_the_address_came_says_nothing_of_it() -> None:
    """The answer may be slow: neither that it is shown now, nor that it is lost."""
    before = now() - 10
    assert lacking(holding(mover()), HAS, since=before) is None
    assert lacking(holding(mover()), HAS, LACKS, LACKS, LACKS, since=before) is None
    made = holding(mover())
    made.address.found_addresses(OWN_MAC, HAS, before)
    assert lacking(made, LACKS, LACKS, LACKS) is None


def test_imds_is_asked_only_about_an_address_that_could_be_taken_silently() -> None:
    """Where it is here; an IPv4 address that is its ENI's own goes with the link, which tells."""
    made = mover()
    made.looked(own(ADDRESS))
    assert made.address.mac_at_risk() == ""
    made.address.reconciled(CARRIED, now())
    assert made.address.mac_at_risk() == OWN_MAC
    made.address.reconciled(AHEAD, now())
    assert made.address.mac_at_risk() == ""
    other = Node()
    other.looked(eni(holder=ME))
    other.address.reconciled(CARRIED, now())
    assert other.address.mac_at_risk() == ""


@pytest.mark.parametrize("shown", [eni(IPV6, holder=ME), None], ids=["late", "knows"])
def test_an_ipv6_address_that_is_taken_off_its_own_eni_is_lost(shown: Eni | None) -> None:
    """The link stays.  IMDS tells, whether EC2 still shows the address here or already nowhere; what EC2 said before
    that counts no more, and nothing is left on the link while it does not answer.
    """
    made = Node(target=IPV6)
    made.looked(eni(IPV6, holder=ME))
    made.address.reconciled(CARRIED, now())
    assert made.address.mac_at_risk() == MAC
    assert made.step() == "HELD_HERE"
    made.looked(shown)
    made.address.found_addresses(MAC, frozenset({IPV6}), now())
    for after in range(1, 4):
        made.step()
        assert made.address.decision.extent is Extent.ALL
        made.address.found_addresses(MAC, frozenset(), now() + after)
    made.step()
    assert made.address.decision.extent is Extent.NOTHING
    assert made.address.decision.look_at <= now() + timing.LOOK_IN_DOUBT
    made.address.reconciled(AHEAD, now())
    lost_at = now() + 3
    for asked_at, extent in ((lost_at + timing.CLAIM_SHOWN - 1, Extent.NOTHING), (lost_at + 9, Extent.ALL)):
        made.looked(eni(IPV6, holder=ME), asked_at)
        made.step()
        assert made.address.decision.extent is extent, "EC2 may show it as it was, for a while"


def test_the_private_address_of_an_elastic_ip_that_nobody_of_ours_has_any_more_can_still_be_lost() -> None:
    """It was moved by hand to an ENI that is not ours: which address it was led to here is known all the same."""
    made = mover(ELASTIC)
    made.looked(own(ADDRESS, elastic={ADDRESS: ELASTIC.id}))
    made.address.reconciled(CARRIED, now())
    made.looked(None)
    assert plumbed(made).address == ADDRESS
    assert made.address.mac_at_risk() == OWN_MAC
    assert lacking(made, HAS, LACKS, LACKS, LACKS) == LOST_AFTER
    made.step()
    assert made.address.decision.extent is Extent.AHEAD


def test_what_imds_says_of_another_interface_means_nothing() -> None:
    """The node's primary one, for example."""
    made = holding(mover())
    lacking(made, HAS)
    for at in range(3):
        made.address.found_addresses(IDENTITY.mac, LACKS, now() + at)
    assert made.address._view((), 0, WALL, "").lost_until_asked_at is None


def test_a_holder_that_started_while_ec2_is_silent_can_still_lose_the_address() -> None:
    """IMDS told it what to carry, and is asked whether that is so still: nobody else can tell."""
    made = mover()
    made.shared.standings.clear()
    made.address.found_interface(Interface(OWN_MAC, ip_network("10.0.0.0/24")))
    made.address.reconciled(CARRIED, now())
    assert made.address.mac_at_risk() == OWN_MAC
    assert lacking(made, HAS, LACKS, LACKS, LACKS) == LOST_AFTER
