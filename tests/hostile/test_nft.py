"""nft, in whose place may be anything that prints; and what it lists, into which others on the node write, too."""

import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floatingip.core.errors import HostError
from floatingip.core.plumbing import Plumbing
from floatingip.edges.kernel import chains, kube_proxy
from floatingip.edges.kernel.mark_table import table_name, wanted_marks
from floatingip.edges.kernel.nft import Nft
from tests.hostile.strategies import as_json, documents, mutations, values

ADDRESS, LINK = IPv4Address("10.0.0.100"), 1
PLUMBING = Plumbing(ADDRESS, "02:00:00:00:01:00", IPv4Address("10.0.0.1"), "02:00:00:00:00:0b", 840, 900, 0x40, 0x70)
WANTED = wanted_marks(PLUMBING, LINK)
LISTED: dict[str, Any] = {"nftables": [{"metainfo": {"version": "1.0.6"}}, *WANTED]}
SERVED: dict[str, Any] = {"nftables": [{"set": {"name": "nodeport-ips", "elem": ["10.0.0.11", "192.0.2.1"]}}]}
OTHERS: dict[str, Any] = {
    "nftables": [
        {
            "chain": {
                "family": "ip",
                "table": "mangle",
                "name": "PREROUTING",
                "type": "filter",
                "hook": "prerouting",
                "prio": 0,
                "policy": "drop",
            }
        },
        {
            "rule": {
                "family": "ip",
                "table": "mangle",
                "chain": "PREROUTING",
                "expr": [{"mangle": {"key": {"ct": {"key": "mark"}}, "value": {"|": [{"ct": {"key": "mark"}}, 16]}}}],
            }
        },
    ]
}

printed = st.one_of(documents(LISTED).map(as_json), mutations(as_json(LISTED)), values.map(as_json), st.binary())


PRINTS = """#!/bin/sh
cd "${0%/*}"
cat out
[ ! -s errors ] || cat errors >&2
read -r code <code
exit "$code"
"""


class Odd(Nft):
    """A command of that name which prints what it is told to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        command = directory / "nft"
        command.write_text(
            '#!/bin/sh\ncd "${0%/*}"\ncat out\n[ ! -s errors ] || cat errors >&2\nread -r code <code\nexit "$code"\n'
        )
        command.chmod(0o755)
        super().__init__(str(command))

    def says(self, out: bytes = b"", errors: bytes = b"", code: int = 0) -> "Odd":
        """From now on."""
        for name, content in (("out", out), ("errors", errors), ("code", b"%d\n" % code)):
            (self._directory / name).write_bytes(content)
        return self


@pytest.fixture(name="nft", scope="module")
def _nft(tmp_path_factory: pytest.TempPathFactory) -> Odd:
    return Odd(tmp_path_factory.mktemp("nft"))


@pytest.mark.parametrize(
    "out",
    [
        b"5",
        b'{"nftables": 5}',
        b'{"nftables": [5, {"rule": 5}, {"rule": {"expr": 5}}, {"rule": {"expr": [5, {"match": 5}]}}]}',
        b'{"nftables": ' + b"[" * 50_000,
        b'{"nftables": [' + b"9" * 5_000 + b"]}",
        b'{"nftables": [{"rule": {"expr": [{"match": {"left": {"meta": {"key": "iif"}}, "right": "\\u0000"}}]}}]}',
    ],
)
def test_what_is_no_listing_is_none_of_ours(nft: Odd, out: bytes) -> None:
    """Though it may begin as one."""
    changed, refusal = nft.says(out).bring_about(table_name(ADDRESS), WANTED)
    assert not changed
    assert "still not as they should be" in refusal


@given(printed, st.sampled_from([0, 0, 0, 1, 127]), st.one_of(st.binary(max_size=300), st.just(b"Error: x\n" * 99)))
def test_marks_are_as_wanted_only_when_nft_lists_them_so(nft: Odd, out: bytes, code: int, errors: bytes) -> None:
    """Whatever else is printed is a line for the user, and no traceback."""
    nft.says(out, errors, code)
    try:
        changed, refusal = nft.bring_about(table_name(ADDRESS), WANTED)
    except HostError as error:
        changed, refusal = False, str(error)
    assert not changed
    if not refusal:
        told = json.loads(out.decode(errors="replace"))["nftables"]
        assert code == 0
        assert [entry for entry in told if "metainfo" not in entry] == WANTED
    assert len(refusal) < 300
    assert "\n" not in refusal


def test_marks_that_nft_lists_as_wanted_are_believed(nft: Odd) -> None:
    """Or the test above could not fail."""
    assert nft.says(as_json(LISTED)).bring_about(table_name(ADDRESS), WANTED) == (False, "")


@given(st.one_of(documents(SERVED).map(as_json), mutations(as_json(SERVED)), st.binary()))
def test_where_kube_proxy_serves_is_a_set_of_texts_or_unknown(nft: Odd, out: bytes) -> None:
    """Each of which may stand in one line that the user reads."""
    served = kube_proxy.node_ports_at(nft.says(out), 4)
    assert served is None or all(isinstance(each, str) for each in served)
    assert "\n" not in kube_proxy.kept_off(ADDRESS, served)


@given(documents(OTHERS))
def test_whatever_others_rules_look_like_the_doctor_reads_on(ruleset: dict[str, Any]) -> None:
    """Those on our bits, and those that drop, are named, whatever stands beside them."""
    entries = ruleset.get("nftables")
    beside = entries if isinstance(entries, list) else []
    everything = [*beside, *OTHERS["nftables"]]
    assert "nft's chain ip mangle PREROUTING" in chains.on_bits(everything, 0x70, {table_name(ADDRESS)})
    assert "nft's chain ip mangle PREROUTING (prerouting)" in chains.that_drop(everything)
