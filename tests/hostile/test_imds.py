"""Whatever answers in IMDS' place: it is this node's identity, addresses and end only where it looks like that."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from floatingip.core.errors import MetadataError
from floatingip.edges.imds import Imds
from tests.edges.imds_service import INTERFACES, PRIMARY, SECOND, SECRET, VALUES, Service, answer
from tests.hostile.strategies import as_json, documents, mutations, several

pytest_plugins = ["tests.edges.imds_fixtures"]

T = TypeVar("T")

IDENTITY = [path for path in VALUES if "placement" in path or path in ("instance-id", "mac") or PRIMARY in path]
ADDRESSES = (f"{INTERFACES}/{SECOND}/local-ipv4s", f"{INTERFACES}/{SECOND}/ipv6s", f"{INTERFACES}/")
NOTICES = {
    "spot/instance-action": {"action": "terminate", "time": "2026-11-23T00:00:00Z"},
    "events/maintenance/scheduled": [
        {"Code": "system-reboot", "State": "active", "NotBefore": "21 Jan 2019 09:00:43 GMT", "NotAfter": ""}
    ],
    "events/recommendations/rebalance": {"noticeTime": "2026-11-23T00:00:00Z"},
    "autoscaling/target-lifecycle-state": "InService",
}
dates = st.one_of(
    st.text("0123456789 :+-,.GMTJanuary", max_size=30),
    st.sampled_from(
        [
            "31 Dec 9999 23:59:59 -2359",
            "1 Jan 1 0:0:0 +2359",
            "99 Xxx 2026",
            "",
            ",",
            "Mon, 1 Jan",
            "1 Jan 2026 1:2:3 -9999",
        ]
    ),
)


def found_by(ask: Callable[[], T]) -> T | None:
    """What is found; None after an error that is told well."""
    try:
        return ask()
    except MetadataError as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 400
    assert SECRET.decode() not in said, "it may be a credential"
    return None


@several(2)
@given(st.sampled_from(IDENTITY).flatmap(lambda path: st.tuples(st.just(path), mutations(VALUES[path]))))
def test_an_identity_is_made_of_ids_alone(service: Service, asker: Imds, odd: tuple[str, bytes]) -> None:
    """Whatever is told instead of one of them."""
    path, body = odd
    service.bad = {path: answer(body)}
    if (found := found_by(asker.identity)) is None:
        return
    words = (
        found.instance_id,
        found.region,
        found.zone,
        found.vpc_id,
        found.subnet_id,
        found.mac,
        *found.security_groups,
    )
    assert all(word.isascii() and word.isprintable() and len(word) < 100 and " " not in word for word in words)
    assert found.zone.startswith(found.region)
    assert not found.address.is_unspecified


@several(2)
@given(
    st.dictionaries(
        st.sampled_from(ADDRESSES), st.sampled_from(ADDRESSES).flatmap(lambda path: mutations(VALUES[path])), min_size=1
    )
)
def test_an_address_is_lacked_only_by_a_list_of_addresses(service: Service, asker: Imds, odd: dict[str, bytes]) -> None:
    """All else is an error, by which nobody lets go of anything."""
    service.bad = {path: answer(body) for path, body in odd.items()}
    said = {path: odd.get(path, VALUES[path]).decode("ascii", "replace").split() for path in ADDRESSES}
    if (found := found_by(lambda: asker.addresses_of(SECOND) or frozenset())) is None:
        return
    assert found == frozenset(ip_address(word) for path in ADDRESSES[:2] for word in said[path])


@several(2)
@given(st.one_of(*(st.tuples(st.just(path), documents(sound)) for path, sound in NOTICES.items())), st.booleans())
def test_an_end_is_announced_in_a_line_or_not_at_all(
    service: Service, asker: Imds, odd: tuple[str, object], as_text: bool
) -> None:
    """What cannot be read is no notice, and hides none."""
    path, document = odd
    service.bad = {path: answer(str(document).encode("ascii", "replace") if as_text else as_json(document))}
    is_read(asker)


@several(2)
@given(dates)
def test_whenever_a_maintenance_begins_it_is_read_or_not(service: Service, asker: Imds, date: str) -> None:
    """Years that no clock has, and zones that no place has, included."""
    event = {"Code": "system-reboot", "State": "active", "NotBefore": date}
    service.bad = {"events/maintenance/scheduled": answer(as_json([event]))}
    is_read(asker)


def is_read(asker: Imds) -> None:
    """A notice of one line, none, or an error of one."""
    found = found_by(asker.notice)
    assert found is None or (found.detail.isprintable() and len(found.detail) < 300)
