"""
The settings: one frozen value, what each of them may be, and what all of them together may not.

Every setting is documented here, once: its unit, its default and the reason for the default.  Each but
``floating_ips`` is optional.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from floatingip.core.model import Carry, Target

CONVICTION_SPAN = 1.1
"""Seconds.  TCP sends a lost SYN again after one second: losses over a shorter time prove nothing."""

LONGEST_STALL = 1.0
"""Seconds.  All probes that are sent during a stall of a busy hypervisor are lost, so the losses that convict a holder
must be sent over a longer time."""

KERNELS_TABLES = (253, 254, 255)
"""The kernel's own routing tables: default, main and local."""

FIRST_CNI_PRIORITY = 1024
"""The priorities between 512 and this one are free: the VPC CNI has rules at both, and none in between."""

MOST_ADDRESSES = (FIRST_CNI_PRIORITY - 513) // 2
"""How many addresses have room for their rules: two for each, from priority 513 on."""

LONGEST_SHOWN = 150
"""Characters of a value in a message, at most."""

WILDCARDS = frozenset("*?\\")
"""Characters that make the value of a filter a pattern for EC2 ("Filtering", EC2 API Reference)."""

MOST_GROUPS = 16
"""Security groups of one interface, at most, by the highest quota that AWS grants."""

_SECURITY_GROUP = re.compile(r"sg-(?:[0-9a-f]{8}|[0-9a-f]{17})")

AUTO = "auto"
"""The value of `service` that stands for the NodePorts of the pod's own namespace."""

LOGFMT, JSON = "logfmt", "json"
"""The values of `log`."""

_SERVICE = re.compile(r"(?P<kind>tcp|http):(?P<port>[1-9][0-9]{0,4})(?P<path>/[!-~]*)?")

Check = Callable[[Any], str]
"""A function that checks a value: it returns what the value should have been, or an empty text if it is fine."""


def _seconds(low: float, high: float) -> Check:
    def check(value: Any) -> str:
        sound = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return "" if sound else f"a number of seconds from {low:g} to {high:g}"

    return check


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> str:
        sound = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return "" if sound else f"a whole number from {low} to {high}"

    return check


def _mark(value: Any) -> str:
    """Bits of the firewall mark: those of others on an EKS node are refused (the VPC CNI's 0x80, kube-proxy's
    0xc000).
    """
    wanted = "a whole number with bits of its own, such as 0x40"
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 32:
        return wanted
    foreign = value & (0x80 | 0xC000)
    return f"{wanted}; {foreign:#x} belongs to the VPC CNI or kube-proxy" if foreign else ""


def _table(value: Any) -> str:
    if _whole(100, (1 << 32) - 1)(value) or value in KERNELS_TABLES:
        return "a number of a routing table from 100 (the VPC CNI's are below), but not the kernel's 253, 254 and 255"
    return ""


def _name(value: Any) -> str:
    sound = isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable() and value == value.strip()
    if not sound or WILDCARDS.intersection(value):
        return "a text of 1 to 128 printable characters without *, ? and \\, by which EC2 would find others' interfaces"
    if "$" in value:
        return "a text without $, which begins variables: envsubst's, and IAM's in the policy"
    return ""


def _carry(value: Any) -> str:
    return "" if value in tuple(Carry) else "eni or address"


def _service(value: Any) -> str:
    sound = isinstance(value, str) and (value in ("", AUTO) or _SERVICE.fullmatch(value))
    return "" if sound else f'{AUTO}, tcp:PORT or http:PORT/PATH, such as tcp:30007, or "" for none'


def _log(value: Any) -> str:
    return "" if value in (LOGFMT, JSON) else f"{LOGFMT} or {JSON}"


def _groups(value: Any) -> str:
    sound = isinstance(value, list) and all(isinstance(g, str) and _SECURITY_GROUP.fullmatch(g) for g in value)
    if not sound or len(set(value)) < len(value) or len(value) > MOST_GROUPS:
        return f"a list of up to {MOST_GROUPS} different ids of security groups, such as [sg-0123456789abcdef0]"
    return ""


def _setting(default: Any, check: Check) -> Any:
    return dataclasses.field(default=default, metadata={"check": check})


class ServiceCheck(NamedTuple):
    """The NodePort that the setting ``service`` names; ``kind`` is how it is checked, ``tcp`` or ``http``."""

    kind: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user decides.  Field order is the order of the commented document in ``floating-ip.yaml``."""

    floating_ips: tuple[Target, ...]
    """What was reserved, from ``FLOATING_IP``: addresses and allocation ids, separated by commas.  It has no default,
    since only the user can know it."""

    name: str = _setting("", _name)
    """Whose interfaces are ours: the value of their tag ``floatingip``.  Default: the EKS cluster's name, as the
    instance's own tag ``kubernetes.io/cluster/NAME`` says, so that two clusters in one VPC never take each
    other's.  It is a name, not a pattern, so it has no ``*``, ``?`` or ``\\``; nor a ``$``: variables are not
    replaced."""

    carry: Carry = _setting(Carry.ENI, _carry)  # noqa: RUF009  # it makes a field
    """What moves at a failover.  ``eni``: an ENI with the address is detached and attached, which takes EC2 5 to 60 s.
    ``address``: the address moves between ENIs that each node has ahead of time, which takes 1 to 2 s.  Default: eni,
    as in the AWS sample, since a running deployment must not change it.  To change it, scale to 0 and run
    ``floatingip release`` first."""

    port: int = _setting(9807, _whole(1, 29999))
    """TCP port of the observers' read-only status on the node's primary address.  Default: 9807, which neither
    Kubernetes, nor the VPC CNI, nor the node exporters use; below the NodePorts."""

    probe_interval: float = _setting(0.25, _seconds(0.05, 10))
    """Seconds between two probes of the floating address.  Default: 0.25, four packets a second."""

    probe_fast_interval: float = _setting(0.1, _seconds(0.02, 10))
    """Seconds between two probes after one was lost.  Default: 0.1, so that doubt does not last long."""

    probe_timeout: float = _setting(0.15, _seconds(0.05, 10))
    """Seconds until a probe without an answer counts as lost.  Default: 0.15, far above a zone's round trip of a
    millisecond; a longer one would delay the verdict without making it surer."""

    rise: int = _setting(2, _whole(1, 100))
    """Answered probes in a row until the address counts as up.  Default: 2, so that one stray answer does not."""

    fall: int = _setting(11, _whole(1, 100))
    """Lost probes in a row until the address counts as down.  Default: 11.  With the other defaults the first and the
    last of them are sent 1.05 s apart.  So a stall of 900 ms does not convict, even if a probe beside it was lost by
    chance.  The verdict comes 1.2 s after the first of them was sent, so a dead node is found within 1.5 s."""

    service: str = _setting(AUTO, _service)
    """What else must answer at the floating address: ``tcp:PORT`` or ``http:PORT/PATH``, such as tcp:30007; empty for
    nothing; or ``auto`` for the TCP NodePorts of the Services in the pod's own namespace.  Of these, four at most are
    checked, each by a connection and nothing more.  Default: auto, since the address is there so that NodePorts answer.
    A NodePort that answers on no node moves nothing."""

    service_interval: float = _setting(1.0, _seconds(0.1, 60))
    """Seconds between two checks of one NodePort.  Default: 1, a connection a second from each standby."""

    service_timeout: float = _setting(1.0, _seconds(0.1, 60))
    """Seconds until a check of the service without an answer counts as lost.  Default: 1."""

    service_rise: int = _setting(2, _whole(1, 100))
    """Passed checks of the service in a row until it counts as up.  Default: 2, as for the address."""

    service_fall: int = _setting(5, _whole(1, 100))
    """Lost checks of the service in a row until it counts as down.  Default: 5, since on every node a pod that is
    replaced is away for some seconds."""

    settle: float = _setting(60.0, _seconds(5, 3600))
    """Seconds that an address has to answer for the first time after it was attached, while nothing is heard from its
    holder.  Default: 60, since a node takes about that long to boot."""

    patience: float = _setting(30.0, _seconds(1, 3600))
    """Seconds to wait while the address does not answer, but its holder says that all is well.  Default: 30, longer
    than most network trouble lasts, since a move helps only if the holder is wrong about itself."""

    force_after: float = _setting(5.0, _seconds(3, 600))
    """Seconds in ``detaching`` until the detach is forced, while nothing is heard from the holder; four times as long
    while it is heard.  Default: 5, since a normal detach takes 2 to 3 s, which is why less than 3 is refused."""

    ec2_timeout: float = _setting(20.0, _seconds(5, 120))
    """Seconds that one answer of EC2 may take at most.  A question is given up after 5 s, or after twice what the last
    answer took, up to this limit, and asked anew.  Default: 20, since in accounts with many interfaces EC2 takes up to
    10 s for a page of them.  A longer one would only put off what is done about a call that hangs."""

    security_groups: tuple[str, ...] = _setting((), _groups)
    """Security groups that our interfaces have and keep, as a list of ids.  Default: those of the primary interface of
    the worker that creates them, so that what reaches a worker reaches the floating address."""

    device_index: int = _setting(1, _whole(1, 15))
    """Lowest device index at which an ENI is attached; the next free one is taken.  Default: 1, behind the primary
    one.  On an Outpost it can be the index that makes a local network interface (``EnableLniAtDeviceIndex``)."""

    mark: int = _setting(0x70, _mark)
    """Bits of the firewall mark that lead replies back by the interface that their connection came in by.  Each
    floating address has a value of these bits.  Default: 0x70, room for seven addresses (one alone uses 0x40).  Neither
    the VPC CNI (0x80), kube-proxy (0xc000), Calico (0xffff0000) nor Cilium (0x0f00) claims these bits."""

    table: int = _setting(840, _table)
    """Number of the first address' routing table for the way back; each further address has the next one.  Default:
    840, away from the VPC CNI's (device indexes) and networkd's."""

    priority: int = _setting(900, _whole(513, 1022))
    """Priority of the first address' rule ``from ADDRESS``; the mark's rule comes right behind, then the next
    address' two.  Default: 900, in the gap that the VPC CNI leaves free from 513 to 1023."""

    log: str = _setting(LOGFMT, _log)
    """How lines of the log are written: ``logfmt``, which is ``key=value`` for eyes and grep; or ``json``, which is one
    object a line with the same keys, and numbers as numbers.  Default: logfmt."""

    @property
    def service_check(self) -> ServiceCheck | None:
        """The one check that ``service`` names; None if it names none."""
        found = _SERVICE.fullmatch(self.service)
        return ServiceCheck(found["kind"], int(found["port"]), found["path"] or "/") if found else None

    @property
    def conviction_span(self) -> float:
        """Seconds from the start of the first lost probe until the last one needed for a verdict is known to be
        lost.
        """
        return lost_probes_span(self.fall, self.probe_interval, self.probe_fast_interval, self.probe_timeout)

    def effective(self) -> dict[str, object]:
        """All settings by name, for the log line at the start."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        lists = {key: ",".join(map(str, value)) for key, value in values.items() if isinstance(value, tuple)}
        return values | lists | {"mark": f"{self.mark:#x}"}


def lost_probes_span(fall: int, interval: float, fast_interval: float, timeout: float) -> float:
    """Seconds from sending the first lost probe to the verdict: probing speeds up when the first one is known to be
    lost.
    """
    sent = 0.0
    for _ in range(fall - 1):
        sent = min(sent + interval, max(sent + fast_interval, timeout))
    return sent + timeout


def mark_room(mask: int) -> int:
    """How many addresses the mask has a value for."""
    return (1 << mask.bit_count()) - 1


def mark_values(mask: int) -> tuple[int, ...]:
    """The values that the mask's bits can have, without zero, beginning with the highest bit alone; no more than there
    can be addresses.
    """
    bits = [1 << bit for bit in range(32) if mask >> bit & 1][::-1]
    numbers = range(1, min(mark_room(mask), MOST_ADDRESSES) + 1)
    return tuple(sum(bit for place, bit in enumerate(bits) if number >> place & 1) for number in numbers)


FIELDS = {field.name: field for field in dataclasses.fields(Settings) if field.name != "floating_ips"}
"""The settings that the document may have, each with its check."""


LIVE = (
    "probe_interval",
    "probe_fast_interval",
    "rise",
    "fall",
    "service_rise",
    "service_fall",
    "settle",
    "patience",
    "force_after",
)
"""The settings that may change while an agent runs: each decision reads them anew, and nothing that lasts was made by
their old values.
"""


def differences(one: Settings, other: Settings) -> dict[str, tuple[object, object]]:
    """The settings, as the user calls them, in which these two differ, with both values."""
    ours, theirs = one.effective(), other.effective()
    names = {"floating_ips": "FLOATING_IP"}
    return {names.get(key, key): (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]}


def shown(value: object) -> str:
    """A value for a message, shortened if it is long."""
    return shortened(repr(value))


def shortened(text: str) -> str:
    """A text for a message; if it is too long it is cut off, and its length is added."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}... ({len(text)} characters)"


def contradictions(settings: Settings) -> Iterator[str]:
    """A sentence for each combination of values that each setting allows, but all of them together do not."""
    yield from _contradictions_of_probing(settings)
    yield from _contradictions_of_numbers(settings)


def _contradictions_of_probing(settings: Settings) -> Iterator[str]:
    if settings.probe_fast_interval > settings.probe_interval:
        yield (
            f"probe_fast_interval: {settings.probe_fast_interval:g} s is longer than probe_interval,"
            f" {settings.probe_interval:g} s; make it shorter, or the same"
        )
    if settings.conviction_span <= CONVICTION_SPAN:
        yield (
            f"fall: {settings.fall} lost probes in {settings.conviction_span:g} s would convict a holder for a"
            f" short stall; raise fall, probe_interval or probe_timeout until they span more than {CONVICTION_SPAN:g} s"
        )
    check = settings.service_check
    if check is not None and check.port > 65535:
        yield f"service: {settings.service} has a port above 65535; give the NodePort, such as tcp:30007"
    if check is not None and check.kind == "tcp" and check.path != "/":
        yield f"service: {settings.service} has a path, which TCP knows none; give http:{check.port}{check.path}"
    sent_within = settings.conviction_span - settings.probe_timeout
    if sent_within <= LONGEST_STALL and settings.conviction_span > CONVICTION_SPAN:
        yield (
            f"fall: {settings.fall} lost probes sent within {sent_within:g} s would convict a"
            f" holder for a stall; raise fall or probe_fast_interval until they are sent over more than"
            f" {LONGEST_STALL:g} s"
        )
    if settings.settle <= settings.conviction_span:
        yield (
            f"settle: {settings.settle:g} s is no longer than the {settings.conviction_span:g} s that losing"
            f" {settings.fall} probes takes; raise settle"
        )


def _contradictions_of_numbers(settings: Settings) -> Iterator[str]:
    count = len(settings.floating_ips)
    if count > mark_room(settings.mark):
        yield (
            f"mark: {settings.mark:#x} has values for {mark_room(settings.mark)} addresses, but FLOATING_IP has"
            f" {count}; give it more bits, such as 0x7f"
        )
    if settings.priority + 2 * count > FIRST_CNI_PRIORITY:
        yield (
            f"priority: {settings.priority} leaves no room for the rules of {count} addresses below"
            f" {FIRST_CNI_PRIORITY}, where the VPC CNI's begin; lower it"
        )
    tables = range(settings.table, settings.table + count)
    if tables and (set(KERNELS_TABLES) & set(tables) or tables[-1] >= 1 << 32):
        yield (
            f"table: {settings.table} and the next ones, for {count} addresses, reach a table of the kernel's own or"
            " the end of the numbers; give a lower or higher one, such as 840"
        )
