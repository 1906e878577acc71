"""What nftables does in the VPC, as scripts for `Namespace.nft`."""

from collections.abc import Collection, Mapping

ROUTER_MAC = "02:00:00:00:ff:01"
"""The VPC router's MAC, on every port."""

_TABLE = """
table {family} fabric {{
    set owned {{ type ifname . {address}; }}
    set ends {{ type ether_addr . ifname; }}
    set blocked {{ type ifname . {address}; flags interval; }}
    set icmp_closed {{ type {address}; }}
    set dropped {{ type ifname . {address}; size 4096; flags dynamic; }}
    chain ingress {{
        type filter hook prerouting priority raw; policy accept;
        {unchecked}
        iifname "p*" iifname . {family} saddr != @owned add @dropped {{ iifname . {family} saddr counter }} drop
        iifname . {family} daddr @blocked drop
        {family} daddr @icmp_closed {icmp} type echo-request drop
    }}
    chain stale {{
        type filter hook forward priority filter; policy accept;
        iifname "p*" ether daddr != {router_mac} ether daddr . oifname != @ends drop
    }}
    chain egress {{
        type filter hook postrouting priority filter; policy accept;
        oifname . {family} saddr @blocked drop
    }}
    chain own_errors {{
        type filter hook output priority filter; policy accept;
        {icmp} type {too_big} accept
        {icmp} type {{ destination-unreachable, time-exceeded, parameter-problem, {redirect} }} drop
    }}
}}
"""
_IPV4_TABLE = _TABLE.format(
    family="ip",
    address="ipv4_addr",
    router_mac=ROUTER_MAC,
    unchecked="",
    icmp="icmp",
    too_big="destination-unreachable icmp code frag-needed",
    redirect="redirect",
)
_IPV6_TABLE = _TABLE.format(
    family="ip6",
    address="ipv6_addr",
    router_mac=ROUTER_MAC,
    # The unspecified address: duplicate address detection, and multicast listener reports before there is an address.
    unchecked='iifname "p*" ip6 saddr { ::, fe80::/10 } ip6 daddr { fe80::/10, ff02::/16 } accept',
    icmp="icmpv6",
    too_big="packet-too-big",
    redirect="nd-redirect",
)
# Without conntrack: by an association that has ended, it would go on to translate a connection, and answer a new one.
_ELASTIC_IPS = """
table ip elastic-ips {
    map inbound { type ipv4_addr : ipv4_addr; }
    map outbound { type ipv4_addr : ipv4_addr; }
    chain enter {
        type filter hook prerouting priority raw - 1; policy accept;
        iifname "router" ip daddr set ip daddr map @inbound
    }
    chain leave {
        type filter hook postrouting priority filter + 1; policy accept;
        oifname "router" ip saddr set ip saddr map @outbound
    }
}
"""
VPC = _IPV4_TABLE + _IPV6_TABLE + _ELASTIC_IPS
"""The tables that are there from the start; sets and maps say which port owns what."""
# The kernel drops frames to a MAC that is not the port's own before any other rule sees them.
_EVERY_MAC = """
table netdev every-mac-{port} {{
    chain ingress {{
        type filter hook ingress device {port} priority 0; policy accept;
        meta pkttype other meta pkttype set host
    }}
}}
"""


def every_mac(port: str) -> str:
    """Let a port accept frames to any MAC."""
    return _EVERY_MAC.format(port=port)


def silence(port: str) -> str:
    """Drop all that a port receives or sends, before anything else sees it."""
    return (
        f"table netdev silence-{port} {{\n"
        f"chain ingress {{ type filter hook ingress device {port} priority -500; policy drop; }}\n"
        f"chain egress {{ type filter hook egress device {port} priority -500; policy drop; }}\n"
        "}\n"
    )


def translation(associations: Mapping[str, str]) -> str:
    """Translate these Elastic IPs to these private addresses, and no others."""
    pairs = "".join(
        f"add element ip elastic-ips inbound {{ {public} : {private} }}\n"
        f"add element ip elastic-ips outbound {{ {private} : {public} }}\n"
        for public, private in associations.items()
    )
    return f"flush map ip elastic-ips inbound\nflush map ip elastic-ips outbound\n{pairs}"


def loss(percent: int, spared_ports: Collection[int]) -> str:
    """Lose so many percent of the packets that ports send; this replaces the former loss."""
    ports = ", ".join(map(str, spared_ports))
    spared = f"tcp dport {{ {ports} }} accept\ntcp sport {{ {ports} }} accept\n" if ports else ""
    chain = (
        "table inet loss { chain ingress {\n"
        "type filter hook prerouting priority raw - 10; policy accept;\n"
        f'{spared}iifname "p*" numgen random mod 100 <= {percent - 1} drop\n'
        "}\n}\n"
    )
    return "add table inet loss\ndelete table inet loss\n" + (chain if percent else "")


def elements(verb: str, set_name: str, port: str, addresses: Collection[str]) -> str:
    """Add to a set of VPC, or delete from it, a port with each of these addresses."""
    return "".join(element(verb, set_name, port, address) for address in sorted(addresses))


def element(verb: str, set_name: str, port: str, address: str) -> str:
    """The same for one address."""
    return f'{verb} element {family(address)} fabric {set_name} {{ "{port}" . {address} }}\n'


def end(verb: str, port: str, mac: str) -> str:
    """Where frames to an ENI's MAC may leave the VPC."""
    return "".join(f'{verb} element {of} fabric ends {{ {mac} . "{port}" }}\n' for of in ("ip", "ip6"))


def family(address: str) -> str:
    """nft's name for the family of an address or network."""
    return "ip6" if ":" in address else "ip"
