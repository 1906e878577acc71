"""FLOATING_IP: which addresses and allocations are taken, and what is told of others."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core.model import Allocation, Target
from tests.core.loading import Load, Problems

REFUSED = {
    # Also a variable that envsubst left alone, the id of an association, or one that was cut off.
    "is neither an address nor an allocation id": (
        *("10.0.0", "10.0.0.256", "10.0.0.100/32", "floating", "${FLOATING_IP}", "10.0.0.100;10.0.0.101"),
        *("2001:db8::10000", "eipalloc-", "eipalloc-1", "eipalloc-0123abcg", "eipalloc-0123456789"),
        *("eipalloc-0123456789abcdef01", "EIPALLOC-0123abcd", "eipassoc-0123abcd"),
    ),
    # EC2 would refuse it too, but only at the first failover.
    "cannot be in a subnet": (
        *("127.0.0.1", "224.0.0.1", "0.0.0.0", "169.254.169.254", "0.0.0.5", "239.255.255.250", "240.0.0.1"),
        *("255.255.255.255", "::1", "ff02::1", "::", "fe80::1", "fe80:ec2::1", "::10.0.0.1", "fec0::1", "64:ff9b::1"),
        *("fd00:ec2::254", "100::1"),
    ),
    "cannot be in a subnet; give one such as 2001:db8:0:1::100": ("fe80::1%eth0", "fd00:ec2::254", "::1"),
    "is an IPv4 address in IPv6's form; give 10.0.0.100": ("::ffff:10.0.0.100", "::FFFF:a00:64"),
    "names a link of one machine; give 2001:db8::64": ("2001:db8::64%eth0", "2001:DB8:0::64%2"),
}


@pytest.mark.parametrize(("text", "why"), [(text, why) for why, texts in REFUSED.items() for text in texts])
def test_what_is_no_address_of_a_subnet_is_refused(problems: Problems, text: str, why: str) -> None:
    """With the text as it stands there."""
    (line,) = problems(address=text)
    assert line.startswith(f"FLOATING_IP: {text!r} in the environment {why}")


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("${FLOATING_IP}", "apply the manifest by `envsubst"),
        ("10.0.0.100/32", "give the address alone, without brackets, port or prefix length: 10.0.0.100"),
        ("2001:db8::64/128", "give the address alone, without brackets, port or prefix length: 2001:db8::64"),
        ("10.0.0.100:30007", "give the address alone, without brackets, port or prefix length: 10.0.0.100"),
        ("[2001:db8::64]", "give the address alone, without brackets, port or prefix length: 2001:db8::64"),
        ("[2001:db8::64]:30007", "give the address alone, without brackets, port or prefix length: 2001:db8::64"),
        ("10.0.0.100 10.0.0.101", "separate several by commas"),
        ("10.0.0.100\n10.0.0.101", "separate several by commas"),
        ("'10.0.0.100'", "give it without quotes"),
        ("lb.example.com", "names are not looked up"),
        ("eipalloc-0123456789", "an allocation id is eipalloc- and 8 or 17 digits"),
        ("eni-0123456789abcdef0", "of an Elastic IP give the allocation id, eipalloc-..."),
        ("10.0.0.300", "give one such as 10.0.0.100"),
        ("None", "the AWS CLI prints that where it has found nothing"),
        ("010.0.0.1", "write it without leading zeros"),
        ("\ufeff10.0.0.100", "type it anew, as it has characters that no address has: '\\ufeff10.0.0.100'"),
        ("10.0.0.10\uff10", "type it anew, as it has characters that no address has: '10.0.0.10\\uff10'"),
        ("10.0.0.100\uff0c10.0.0.101", "type it anew"),
        ("10.0.0.100\x1b[0m", "type it anew"),
    ],
)
def test_what_is_given_instead_of_an_address_is_told_what_to_do(problems: Problems, text: str, instead: str) -> None:
    """What people have at hand: from another file, a URL, the console."""
    (line,) = problems(address=text)
    assert f" is neither an address nor an allocation id; {instead}" in line


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("eipalloc-0123abcd", Allocation("eipalloc-0123abcd")),
        ("eipalloc-0123456789abcdef0", Allocation("eipalloc-0123456789abcdef0")),
        # Public ranges too: some have them, and whether an address is in a subnet only EC2 can say.
        *((text, IPv4Address(text)) for text in ("8.8.8.8", "100.64.0.9", "198.18.0.9", "203.0.113.9")),
        *((text, IPv6Address(text)) for text in ("fd12:3456::9", "2600:1f14::9")),
        # However it is written, and with the newline that YAML keeps at the end of a block.
        ("2001:0DB8:0:0001::0100", IPv6Address("2001:db8:0:1::100")),
        (" 10.0.0.100\n", IPv4Address("10.0.0.100")),
    ],
)
def test_whatever_a_vpc_may_be_made_of_is_taken(loaded: Load, text: str, taken: Target) -> None:
    """EC2 gave shorter allocation ids before 2016; it is logged in its one spelling."""
    settings = loaded(address=text)
    assert settings.floating_ips == (taken,)
    assert settings.effective()["floating_ips"] == str(taken)


def test_several_of_all_kinds_are_taken_in_their_order(loaded: Load) -> None:
    """The order decides which table, priority and mark each has, so it is kept."""
    settings = loaded(address="eipalloc-0123abcd, 10.0.0.101,2001:db8:0:1::100 ,10.0.0.100")
    assert [str(target) for target in settings.floating_ips] == [
        *("eipalloc-0123abcd", "10.0.0.101", "2001:db8:0:1::100", "10.0.0.100")
    ]


@pytest.mark.parametrize(
    ("address", "twice"),
    [
        ("10.0.0.100,10.0.0.101,10.0.0.100", "10.0.0.100"),
        ("2001:db8::64,2001:db8:0::64", "2001:db8:0::64"),
        ("eipalloc-0123abcd,eipalloc-0123abcd", "eipalloc-0123abcd"),
    ],
)
def test_an_address_that_stands_twice_is_refused(problems: Problems, address: str, twice: str) -> None:
    """Also in another spelling: two of them would fight for one ENI."""
    (line,) = problems(address=address)
    assert line == f"FLOATING_IP: {twice!r} stands twice in the environment; give it once"


@pytest.mark.parametrize("address", ["10.0.0.100,", ",10.0.0.100", "10.0.0.100,,10.0.0.101"])
def test_a_comma_too_many_is_told(problems: Problems, address: str) -> None:
    """An empty variable in the middle of the list: something was meant to stand there."""
    (line,) = problems(address=address)
    assert line.startswith(
        f"FLOATING_IP: {address!r} in the environment has nothing beside a comma; is a variable empty?"
    )


def test_every_bad_address_of_a_list_is_told(problems: Problems) -> None:
    lines = problems(address="10.0.0.300,10.0.0.100,127.0.0.1,10.0.0.100")
    assert [line.split("'")[1] for line in lines] == ["10.0.0.300", "127.0.0.1", "10.0.0.100"]


@pytest.mark.parametrize("address", [None, "", "  "])
def test_a_missing_address_names_the_configmap(problems: Problems, address: str | None) -> None:
    """The usual cause is a ConfigMap without the key."""
    (line,) = problems(address=address)
    assert line.startswith("FLOATING_IP: not set in the environment")
    assert "ConfigMap floating-ip" in line
    assert "export it before `envsubst" in line
