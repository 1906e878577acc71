"""
The settings: the ConfigMap, as a file and the environment, made into one frozen value.

``FLOATING_IP`` comes from the environment; everything else from a YAML document of flat keys, every one of them
optional.  All problems are found before anything is touched, and reported together, each with the setting, its value
and where it came from.  Every setting is documented here, once: its unit, its default and the reason for the default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import yaml

from floatingip.errors import ConfigurationError
from floatingip.model import Address

DEFAULT_PATH = Path("/etc/floatingip/settings.yaml")

CONVICTION_SPAN = 1.1
"""Seconds.  One lost SYN or a stall of a busy hypervisor lasts up to about a second: fewer lost probes prove
nothing."""

Check = Callable[[Any], str]
"""Says what a value should have been, or nothing when it is fine."""


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
    if _whole(100, (1 << 32) - 1)(value) or value in (253, 254, 255):
        return "a number of a routing table from 100 (the VPC CNI's are below), but not the kernel's 253, 254 and 255"
    return ""


def _name(value: Any) -> str:
    sound = isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable() and value == value.strip()
    return "" if sound else "a text of 1 to 128 printable characters"


def _setting(default: Any, check: Check) -> Any:
    return dataclasses.field(default=default, metadata={"check": check})


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user decides.  Field order is the order of the commented document in ``floating-ip.yaml``."""

    floating_ip: Address
    """The reserved address, from ``FLOATING_IP``.  It has no default: it is the one thing only the user can know."""

    name: str = _setting("", _name)
    """Whose interfaces are ours: the value of their tag ``floatingip``.  Default: the EKS cluster's name, as the
    instance's own tag ``kubernetes.io/cluster/NAME`` says, so that two clusters in one VPC never take each
    other's."""

    port: int = _setting(9807, _whole(1, 29999))
    """TCP port of the observers' read-only status on the node's primary address.  Default: 9807, which neither
    Kubernetes, nor the VPC CNI, nor the node exporters use; below the NodePorts."""

    probe_interval: float = _setting(0.25, _seconds(0.05, 10))
    """Seconds between two probes of the floating address.  Default: 0.25, four packets a second."""

    probe_fast_interval: float = _setting(0.125, _seconds(0.02, 10))
    """Seconds between two probes once one was lost.  Default: half of the interval, so that doubt lasts less long."""

    probe_timeout: float = _setting(0.5, _seconds(0.05, 10))
    """Seconds until a probe without an answer counts as lost.  Default: 0.5, far above a zone's round trip of a
    millisecond."""

    rise: int = _setting(2, _whole(1, 100))
    """Answered probes in a row until the address counts as up.  Default: 2, so that one stray answer does not."""

    fall: int = _setting(5, _whole(1, 100))
    """Lost probes in a row until it counts as down.  Default: 5, which spans 1.25 s from the first one's start with the
    other defaults: longer than a stall or one lost SYN, and a dead node is still found within 1.5 s."""

    settle: float = _setting(60.0, _seconds(5, 3600))
    """Seconds that an address which never answered since it was attached is given, while nothing is heard of its
    holder.  Default: 60, since a node that boots takes about that long."""

    patience: float = _setting(30.0, _seconds(1, 3600))
    """Seconds to wait while the address does not answer but its holder says that all is well.  Default: 30, longer than
    most network trouble, since then a move helps only if the holder is wrong about itself."""

    force_after: float = _setting(5.0, _seconds(3, 600))
    """Seconds in ``detaching`` until the detach is forced, while nothing is heard of the holder; four times as long
    while it is heard.  Default: 5, since a normal detach takes 2 to 3 s; the least is 3 for the same reason."""

    mark: int = _setting(0x40, _mark)
    """Bits of the firewall mark that lead replies back to the interface they came by.  Default: 0x40, which neither
    the VPC CNI (0x80), kube-proxy (0xc000), Calico (0xffff0000), Cilium (0x0f00) nor Istio's (0x539) most used bits
    claim."""

    table: int = _setting(840, _table)
    """Number of the routing table for the way back.  Default: 840, away from the VPC CNI's (device indexes) and
    networkd's."""

    priority: int = _setting(900, _whole(513, 1022))
    """Priority of the rule ``from ADDRESS``; the mark's rule comes right behind.  Default: 900, in the gap that the
    VPC CNI leaves free from 513 to 1023."""

    @property
    def conviction_span(self) -> float:
        """Seconds from the start of the first lost probe until the last one needed for a verdict is known to be
        lost.
        """
        return lost_probes_span(self.fall, self.probe_interval, self.probe_fast_interval, self.probe_timeout)

    def effective(self) -> dict[str, object]:
        """All settings by name, for the log line at the start."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def lost_probes_span(fall: int, interval: float, fast_interval: float, timeout: float) -> float:
    """Seconds from sending the first lost probe to the verdict: probing speeds up when the first one is known to be
    lost.
    """
    sent = 0.0
    for _ in range(fall - 1):
        sent = min(sent + interval, max(sent + fast_interval, timeout))
    return sent + timeout


def load(environ: Mapping[str, str], path: Path) -> Settings:
    """Read the settings, or raise one ``ConfigurationError`` whose message has a line for each problem."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    address = _floating_ip(environ, problems)
    for key, value in _document(path, problems).items():
        field = _FIELDS.get(key)
        if field is None:
            problems.append(f"{key}: unknown setting in {path}; known are {', '.join(_FIELDS)}")
            continue
        wanted = field.metadata["check"](value)
        if wanted:
            problems.append(f"{key}: {value!r} in {path} should be {wanted}")
        else:
            values[key] = float(value) if isinstance(field.default, float) else value
    settings = Settings(floating_ip=address or IPv4Address(0), **values)
    problems.extend(_contradictions(settings))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return settings


_FIELDS = {field.name: field for field in dataclasses.fields(Settings) if field.name != "floating_ip"}


def _floating_ip(environ: Mapping[str, str], problems: list[str]) -> Address | None:
    text = environ.get("FLOATING_IP", "").strip()
    if not text:
        problems.append("FLOATING_IP: not set in the environment; is the ConfigMap floating-ip there, with that key?")
        return None
    try:
        address = ip_address(text)
    except ValueError:
        problems.append(f"FLOATING_IP: {text!r} in the environment is not an address; give one such as 10.0.0.100")
        return None
    if not isinstance(address, IPv4Address):
        problems.append(f"FLOATING_IP: {text!r} in the environment is IPv6; give an IPv4 address such as 10.0.0.100")
        return None
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local:
        problems.append(f"FLOATING_IP: {text!r} in the environment cannot be in a subnet; give one such as 10.0.0.100")
        return None
    return address


def _document(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path}: {error.strerror}; is the ConfigMap floating-ip there, and mounted?")
        return {}
    except (yaml.YAMLError, ValueError) as error:  # a ValueError for bytes, dates and numbers that are none
        problems.append(f"{path}: not a YAML document: {' '.join(str(error).split())}")
        return {}
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        problems.append(f"{path}: should hold lines of the form `setting: value`")
        return {}
    return document


def _contradictions(settings: Settings) -> Iterator[str]:
    """What each setting allows, but all of them together do not."""
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
    if settings.settle <= settings.conviction_span:
        yield (
            f"settle: {settings.settle:g} s is no longer than the {settings.conviction_span:g} s that losing"
            f" {settings.fall} probes takes; raise settle"
        )
