"""Read ``FLOATING_IP``: addresses that a subnet can have, and allocation ids; say what is wrong with anything else."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from floatingip.core.model import Allocation, Target
from floatingip.core.settings import LONGEST_SHOWN, shortened, shown

VPC_IPV6 = (IPv6Network("2000::/3"), IPv6Network("fc00::/7"))
"""The IPv6 addresses that a subnet can have: global unicast addresses, and unique local ones."""

AWS_LOCAL_IPV6 = IPv6Network("fd00:ec2::/32")
"""The addresses of IMDS, the resolver and the time service: no subnet has these."""

_EXAMPLES = {4: "10.0.0.100", 6: "2001:db8:0:1::100"}

_ALLOCATION = re.compile(r"eipalloc-(?:[0-9a-f]{8}|[0-9a-f]{17})")


def floating_ips(listed: str, problems: list[str]) -> tuple[Target, ...]:
    """The targets in a list with commas; a sentence for each problem of the list is added to ``problems``."""
    texts = [text.strip() for text in listed.split(",")]
    if not any(texts):
        problems.append(
            "FLOATING_IP: not set in the environment; export it before `envsubst < floating-ip.yaml | kubectl apply"
            " -f -`, which puts it into the ConfigMap floating-ip"
        )
        return ()
    if not all(texts):
        problems.append(
            f"FLOATING_IP: {shown(listed)} in the environment has nothing beside a comma; is a variable empty?"
            " Otherwise take the comma away"
        )
    targets: dict[Target, None] = {}
    for text in filter(None, texts):
        target = _target(text)
        if isinstance(target, str):
            problems.append(f"FLOATING_IP: {shown(text)} in the environment {target}")
        elif target in targets:
            problems.append(f"FLOATING_IP: {shown(text)} stands twice in the environment; give it once")
        else:
            targets[target] = None
    return tuple(targets)


def _target(text: str) -> Target | str:
    """The target that the text names; or a sentence (str) why it names none, and what to give instead."""
    if _ALLOCATION.fullmatch(text):
        return Allocation(text)
    try:
        address = ip_address(text)
    except ValueError:
        return f"is neither an address nor an allocation id; {_instead_of(text)}"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return f"is an IPv4 address in IPv6's form; give {address.ipv4_mapped}"
    if not _subnets_can_have(address):
        return f"cannot be in a subnet; give one such as {_EXAMPLES[address.version]}"
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return f"names a link of one machine; give {IPv6Address(int(address))}"
    return address


def _subnets_can_have(address: IPv4Address | IPv6Address) -> bool:
    """Whether a VPC can have the address ("VPC CIDR blocks", VPC User Guide); it may use any public IPv4 range."""
    if isinstance(address, IPv6Address):
        return address not in AWS_LOCAL_IPV6 and any(address in network for network in VPC_IPV6)
    return not (
        address.is_multicast
        or address.is_loopback
        or address.is_link_local
        or address.is_reserved
        or address.packed[0] == 0
    )


def _instead_of(text: str) -> str:
    """What to do about a text that is no address, for each kind of mistake that people make."""
    # Only short texts are matched: with every further colon a long one would take longer, up to minutes.
    alone = len(text) <= LONGEST_SHOWN and re.match(
        r"\[?(?P<ipv6>[0-9a-fA-F:]*:[0-9a-fA-F:.]*)\]|(?P<ipv4>[0-9]+(?:\.[0-9]+)+):[0-9]*|(?P<cidr>[0-9a-fA-F:.]+)/",
        text,
    )
    if "$" in text:
        return "apply the manifest by `envsubst < floating-ip.yaml | kubectl apply -f -`"
    if text.strip("'\"") != text:
        return "give it without quotes"
    if re.search(r"[\s;|]", text):
        return "separate several by commas: 10.0.0.100,10.0.0.101"
    if not (text.isascii() and text.isprintable()):
        return f"type it anew, as it has characters that no address has: {shortened(ascii(text))}"
    if text == "None":
        return "the AWS CLI prints that where it has found nothing; correct the command that gave it"
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+){3}", text) and re.search(r"\b0[0-9]", text):
        return "write it without leading zeros"
    if alone:
        return f"give the address alone, without brackets, port or prefix length: {next(filter(None, alone.groups()))}"
    if text.lower().startswith("eipalloc-"):
        return "an allocation id is eipalloc- and 8 or 17 digits of 0-9 and a-f"
    if re.match(r"[a-z]+-[0-9a-f]+$", text):
        return "of an Elastic IP give the allocation id, eipalloc-..., otherwise the address, such as 10.0.0.100"
    if re.match(r"[A-Za-z][\w.-]*$", text):
        return "names are not looked up; give the address, such as 10.0.0.100"
    return "give one such as 10.0.0.100"
