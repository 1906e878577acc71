"""An agent that is told anything, in any order: it goes on, asks for little, and writes nothing without evidence."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floatingip.agent import events
from floatingip.core import ec2
from floatingip.core.decision.evidence import REACHED_TAG
from floatingip.core.errors import AddressTaken, CloudUnavailable, Denied, LookAgain, NoFreeSlot, TokenSpent
from floatingip.core.model import Carry
from floatingip.core.node import Notice, OwnPod
from floatingip.core.peer import Sight
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.probe import NodePort, ProbeOutcome
from floatingip.core.word import RESERVED, Answer, Held, Status
from floatingip.core.writes import Assign, Attach, Detach, Unassign, Write
from tests.hostile.node import (
    ADDRESS,
    ELASTIC,
    INSTANCES,
    ME,
    NAME,
    OTHER,
    SUBNET,
    TARGETS,
    THIRD,
    ZONE,
    Step,
    in_peace,
    odder,
    peace,
    sound,
)
from tests.hostile.strategies import texts

MAC = "02:00:00:00:00:64"
ADDRESSES = (ADDRESS, IPv4Address("10.0.0.60"), IPv4Address("10.0.0.61"), IPv4Address("0.0.0.0"))
whose = st.sampled_from([ME, OTHER, THIRD, "", "i-ffffffff"])
moments = st.sampled_from([0.0, 1.0, 1_763_999_990.0, 1_764_000_000.0, 1_764_100_000.0, 99_999_999_999.0])

ATTACHMENTS = ("eni-attach-1", "eni-attach-2", "eni-attach-3")
bindings = st.builds(
    ec2.Attachment,
    st.sampled_from(ATTACHMENTS),
    whose,
    st.integers(0, 2**31),
    st.sampled_from(ec2.AttachmentStatus),
    st.one_of(st.none(), moments),
)
records = st.one_of(
    texts,
    st.lists(
        st.builds(
            "{}@{}/{}".format,
            st.sampled_from(["R3", "R4", "R99"]),
            moments.map(int),
            st.sampled_from([a[-9:] for a in ATTACHMENTS]),
        ),
        max_size=9,
    ).map(" ".join),
)
reached = st.one_of(texts, moments.map(lambda at: str(int(at))))
orders = st.one_of(
    texts,
    st.builds(
        "{}>{}@{}".format,
        st.sampled_from([a[-9:] for a in ATTACHMENTS]),
        st.sampled_from(["*", ME, OTHER]),
        moments.map(int),
    ),
)
tags = st.fixed_dictionaries(
    {ec2.OWNER_TAG: st.sampled_from([NAME, NAME, NAME, "other", ""])},
    optional={
        "Name": texts,
        ec2.STANDING_TAG: whose,
        ec2.ALLOCATION_TAG: st.sampled_from([str(ELASTIC), "eipalloc-1"]),
        REACHED_TAG: reached,
        f"{REACHED_TAG}/{ADDRESS}": reached,
        "floatingip/moves": records,
        f"floatingip/moves/{ADDRESS}": records,
        "floatingip/to": orders,
        f"floatingip/to/{ADDRESS}": orders,
    },
)
short = texts.map(lambda text: text[:100])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "mac": st.sampled_from([MAC, "02:00:00:00:00:65", "zz"]),
    "address": st.one_of(st.none(), st.sampled_from(ADDRESSES)),
    "subnet_id": st.sampled_from([SUBNET.id, "subnet-2"]),
    "zone": st.just("elsewhere"),
    "attachment": st.one_of(st.none(), bindings),
    "tags": tags,
    "secondary": st.lists(st.sampled_from(ADDRESSES), max_size=2).map(tuple),
    "elastic": st.dictionaries(st.sampled_from(ADDRESSES), st.sampled_from([str(ELASTIC), "eipalloc-1"]), max_size=1),
    "security_groups": st.sampled_from([(), ("sg-2", "sg-3")]),
    "source_check": st.booleans(),
    "delete_on_termination": st.booleans(),
    "unread": st.just("address 'x'"),
}
oddities = st.one_of(
    *(st.tuples(st.integers(0, 3), st.just(name), values) for name, values in FIELDS.items()),
    *(st.tuples(st.integers(0, 3), st.just(name), FIELDS[name]) for name in ("attachment", "tags", "secondary")),
)
instances = st.builds(
    ec2.Instance,
    whose.filter(bool),
    st.sampled_from(ec2.InstanceState),
    st.one_of(st.none(), st.sampled_from([*ADDRESSES, IPv6Address("2001:db8::1")])),
    st.sampled_from([ZONE, ""]),
    st.frozensets(st.integers(0, 20), max_size=3),
    st.just({"kubernetes.io/cluster/lab": "owned"}),
)
SUBNETS = (ec2.Subnet("subnet-2", (ip_network("10.0.0.0/8"),), "elsewhere"), ec2.Subnet("subnet-3", (), ZONE))
allocations = st.builds(ec2.AllocationFacts, st.just(str(ELASTIC)), short, st.sampled_from([ZONE, "us-west-2"]), whose)
worlds = st.builds(
    lambda holder, odd, ended, subnets, allocation: (
        lambda node: replace(
            odder(sound(node.carry, holder), odd),
            instances=tuple({**{i.id: i for i in INSTANCES}, **{i.id: i for i in ended}}.values()),
            subnets=(SUBNET, *subnets),
            allocation=allocation,
        )
    ),
    st.sampled_from([OTHER, OTHER, OTHER, ME, THIRD, ""]),
    st.lists(oddities, max_size=2),
    st.one_of(st.just([]), st.lists(instances, max_size=2)),
    st.lists(st.sampled_from(SUBNETS), max_size=1),
    st.one_of(st.none(), allocations),
)


errors = st.sampled_from(
    [
        CloudUnavailable("x: no answer"),
        LookAgain("x: it is in use"),
        Denied("ec2:x"),
        NoFreeSlot("x: full"),
        AddressTaken("x: taken"),
        TokenSpent("x: spent"),
    ]
)
statuses = st.builds(
    Status,
    st.sampled_from([NAME, "other"]),
    whose.filter(bool),
    st.dictionaries(
        st.sampled_from([*map(str, TARGETS), "x"]),
        st.builds(Held, st.sampled_from(ATTACHMENTS), short, short, st.booleans()),
    ),
    st.lists(st.sampled_from([*ATTACHMENTS, f"{ATTACHMENTS[0]}/{ADDRESS}"]), max_size=2).map(tuple),
    st.one_of(st.none(), st.integers(0, 256)),
    st.dictionaries(
        st.sampled_from([ME, OTHER, *ATTACHMENTS]), st.dictionaries(st.just(30007), st.booleans()), max_size=2
    ),
    st.booleans(),
    st.lists(st.sampled_from([*map(str, TARGETS), "x"]), max_size=1).map(tuple),
    st.lists(whose.filter(bool), max_size=2).map(tuple),
    st.dictionaries(st.sampled_from([str(ADDRESS)]), st.sampled_from(Sight)),
    st.booleans(),
)
heard = st.one_of(st.none(), st.just(RESERVED), statuses)
reports = st.builds(
    PlumbingReport,
    st.sampled_from(PlumbingState),
    st.sampled_from([(), ("address",)]),
    short,
    st.just(()),
    st.sampled_from(Extent),
    short,
    short,
)
flags = st.one_of(st.none(), st.booleans())


def told(event: Any) -> Step:
    """What may come at any time."""
    return lambda node: node.tell(event)


steps: st.SearchStrategy[Step] = st.one_of(
    st.floats(0.0, 3.0).map(lambda seconds: lambda node: node.pass_time(seconds)),
    st.just(10.0).map(lambda seconds: lambda node: node.pass_time(seconds)),
    worlds.map(lambda world: lambda node: node.ec2_answers(world(node))),
    st.just(lambda node: node.ec2_answers()),
    st.tuples(
        st.sampled_from([0.5, 2.0, 5.0]),
        st.one_of(
            st.just({OTHER: None, THIRD: Status(NAME, THIRD)}), st.dictionaries(whose.filter(bool), heard, max_size=3)
        ),
    ).map(lambda doubt: lambda node: node.in_doubt(*doubt)),
    errors.map(lambda error: lambda node: node.ec2_fails(error)),
    st.one_of(st.none(), errors).map(lambda error: lambda node: node.write_ends(error)),
    st.tuples(st.integers(0, 9), st.sampled_from(ProbeOutcome), st.floats(0.0, 2.0)).map(
        lambda probe: lambda node: node.probe_ends(*probe)
    ),
    st.tuples(whose, heard, st.booleans()).map(
        lambda said: lambda node: node.tell(events.Heard(said[0], Answer(node.now - 0.1, node.now, said[1], said[2])))
    ),
    st.dictionaries(whose.filter(bool), st.sampled_from(ADDRESSES), max_size=3).map(
        lambda who: told(events.PeersChosen(who))
    ),
    st.tuples(st.sampled_from(TARGETS), reports).map(lambda report: told(events.Reconciled(*report))),
    st.tuples(st.sampled_from([MAC, "zz"]), st.one_of(st.none(), st.frozensets(st.sampled_from(ADDRESSES)))).map(
        lambda shown: lambda node: node.tell(events.AddressesShown(*shown, node.now))
    ),
    st.one_of(st.none(), st.builds(Notice, short, short)).map(lambda notice: told(events.Noticed(notice, 0.0))),
    st.tuples(st.booleans(), short, st.booleans(), st.booleans(), short, flags, flags).map(
        lambda pod: lambda node: node.tell(events.PodShown(OwnPod(node.now, *pod)))
    ),
    st.lists(st.builds(NodePort, st.integers(1, 65535), st.just(""), short), max_size=9).map(
        lambda ports: told(events.NodePortsListed(tuple(ports)))
    ),
    st.builds(
        lambda slots, mine: lambda node: node.tell(events.SlotsRehearsed(slots, {i.id: i for i in mine}, node.now)),
        st.integers(-1, 2**31),
        st.lists(instances, max_size=2),
    ),
    short.map(lambda text: told(events.MetadataTroubled(text))),
    short.map(lambda text: told(events.LogTroubled(text, 7))),
    st.sampled_from(
        [
            told(events.PeersJudged()),
            told(events.PermissionsRehearsed(("ec2:x", "ec2:DetachNetworkInterface"))),
            told(events.ReservationsRehearsed(SUBNET, ())),
            told(events.RehearsalEnded()),
            told(events.NodePortsUnknown("x")),
            told(events.LookWanted()),
            told(events.Terminated()),
        ]
    ),
    st.sampled_from([-1e9, -3600.0, 3600.0, 1e10]).map(
        lambda jump: lambda node: setattr(node, "wall", node.wall + jump)
    ),
)


@given(
    st.sampled_from(Carry),
    st.sampled_from(["", "auto"]),
    st.sampled_from([OTHER, ME, ""]),
    st.lists(steps, min_size=3, max_size=12),
)
def test_whatever_an_agent_is_told_it_goes_on_and_writes_nothing_without_evidence(
    carry: Carry, service: str, holder: str, happened: list[Step]
) -> None:
    node = in_peace(carry, holder, service)
    for step in happened:
        step(node)
        node.pass_time(0.05)


@pytest.mark.parametrize("carry", Carry)
def test_with_evidence_it_does_write(carry: Carry) -> None:
    """Or these tests would show nothing: the holder is silent, and the third node answers."""
    node = in_peace(carry, OTHER)
    node.in_doubt(3.0, {OTHER: None, THIRD: Status(NAME, THIRD)})
    assert any(map(moves, node.writes))


def moves(write: Write) -> bool:
    """Whether it takes the address, or gives it to somebody."""
    return isinstance(write, Detach | Unassign | Assign | Attach) and "10.0.0.6" not in str(write)


@given(st.sampled_from(Carry), st.sampled_from([OTHER, ME]), st.lists(heard, min_size=5, max_size=20))
def test_whatever_a_third_observer_says_nothing_moves_while_all_is_well(
    carry: Carry, holder: str, said: list[Status | None]
) -> None:
    """It speaks for itself only: a standby goes on watching, and the holder goes on serving."""
    node = in_peace(carry, holder)
    for status in said:
        peace(node, holder, status)
        assert node.published is not None
        assert node.published.addresses[0].is_holder == (holder == ME)
    assert not any(map(moves, node.writes))
