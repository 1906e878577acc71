"""The doctor's checks, each with why it matters and what to do, and what a check finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from floatingip.core.wording import printable
from floatingip.edges.control_group import CPU_HINT


def parted(sentence: str) -> tuple[str, str]:
    """A sentence of the agent, as two parts: what is so, and what to do about it.  A semicolon is between them, as in
    the text of an error (errors.py); the second part is empty if the sentence does not say what to do.
    """
    what, _, remedy = sentence.partition("; ")
    return what, remedy


class Verdict(StrEnum):
    """``WARN`` also stands for what is not known: the check neither passed nor failed."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: what is so, why that matters, and, if something is wrong, what to do.

    ``is_known`` is false for what could not be found out.
    """

    check: str
    verdict: Verdict
    what: str
    why: str
    remedy: str = ""
    is_known: bool = True

    def line(self) -> str:
        """The line for people, without why it matters if all is well, or if it is not known how things are."""
        said = f"{self.verdict:4}  {self.check}: {printable(self.what)}"
        if self.verdict is Verdict.OK:
            return said
        why = f"; why it matters: {self.why}" if self.is_known else ""
        return f"{said}{why}; what to do: {printable(self.remedy)}"

    def as_fields(self) -> dict[str, str]:
        """The finding for programs."""
        told = {"check": self.check, "verdict": str(self.verdict), "what": self.what, "why": self.why}
        return told | {"remedy": self.remedy}


@dataclass(frozen=True, slots=True)
class Check:
    """One check: ``why`` it matters, and the ``remedy`` for findings that have no better one."""

    name: str
    why: str
    remedy: str

    def ok(self, what: str) -> Finding:
        """All is well."""
        return Finding(self.name, Verdict.OK, what, self.why)

    def warn(self, what: str, remedy: str = "") -> Finding:
        """It works, but not as well as it should, or not for long."""
        return Finding(self.name, Verdict.WARN, what, self.why, remedy or self.remedy)

    def fail(self, what: str, remedy: str = "") -> Finding:
        """It does not work."""
        return Finding(self.name, Verdict.FAIL, what, self.why, remedy or self.remedy)

    def failing(self, sentence: str) -> Finding:
        """It does not work; ``sentence`` is the agent's, with what is wrong and what to do (`parted`)."""
        return self.fail(*parted(sentence))

    def unknown(self, reason: str, remedy: str = "") -> Finding:
        """It could not be checked."""
        what = f"not known: {reason}"
        return Finding(self.name, Verdict.WARN, what, self.why, remedy or self.remedy, is_known=False)


SETTINGS = Check(
    "settings",
    "nothing starts with settings that cannot work",
    "correct the ConfigMap floating-ip, or FLOATING_IP",
)
IMDS = Check(
    "imds",
    "it tells the observer who this node is, and soonest that an address has left it",
    "enable the instance's metadata endpoint, with hop limit 2 for a pod without the host's network",
)
CREDENTIALS = Check(
    "credentials",
    "without them EC2 is not asked for anything",
    "give the pod a role (IRSA, Pod Identity or the node's); elsewhere `aws sts get-caller-identity` must work",
)
EC2 = Check(
    "ec2",
    "an address moves as fast as EC2 answers, and not at all without it",
    "let this node reach the Region's EC2 endpoint, through a NAT gateway or a VPC endpoint",
)
PERMISSIONS = Check(
    "permissions",
    "a takeover fails at the first call that IAM denies",
    "give this pod's role docs/iam-policy.json",
)
CLOCK = Check(
    "clock",
    "AWS refuses requests that are five minutes off, and the ration of moves is kept in wall-clock time",
    "have the node's chrony ask 169.254.169.123",
)
PLACE = Check(
    "place",
    "an ENI leaves neither its subnet nor its zone nor its Outpost",
    "run on nodes of the address' zone only",
)
RESERVATION = Check(
    "reservation",
    "while the address moves it is on no ENI, and EC2 may hand it out to a pod",
    "reserve it: `aws ec2 create-subnet-cidr-reservation`",
)
OWNER = Check(
    "owner",
    "what is not ours is never touched",
    "free it there or choose another address",
)
SLOTS = Check(
    "slots",
    "without a free ENI slot nothing can be attached here",
    "keep one free (the VPC CNI's MAX_ENI)",
)
SOURCE_CHECK = Check(
    "source-check",
    "without it whoever is on this node can send from any address of the VPC",
    "switch the source/destination check of that interface on; a holder's observer does",
)
NO_MANAGE = Check(
    "no-manage",
    "an interface without that tag is the VPC CNI's: it gives its addresses to pods",
    "tag it node.k8s.amazonaws.com/no_manage=true, and restart aws-node on its node",
)
RULES = Check(
    "rules",
    "workers must admit ICMP and the observers' port from each other, or nobody sees a holder die",
    "let the workers' security group admit ICMP and the observers' TCP port from itself",
)
ICMP = Check(
    "icmp",
    "pings are how a standby sees within 1.5 s that a holder is gone",
    "let the workers' security group admit ICMP from itself",
)
PORT = Check(
    "port",
    "by it observers ask each other whether a holder lives, before they move anything",
    "let the workers' security group admit the observers' TCP port from itself",
)
WORKERS = Check(
    "workers",
    "without another worker in the zone, with an observer on it, nobody takes over",
    "label two workers of the zone floatingip=true, and run two replicas",
)
OBSERVER = Check(
    "observer",
    "what it calls itself not ready for keeps this node from serving, or from taking over",
    "see docs/runbook.md for that line of the log",
)
NFT = Check(
    "nft",
    "only by its marks do replies leave by the interface that the requests came by",
    "use the image of docs/image.md, and a kernel with nf_tables",
)
CAPABILITIES = Check(
    "capabilities",
    "links, routes and rules are NET_ADMIN's, pings are NET_RAW's",
    "give the container NET_ADMIN and NET_RAW, in a namespace whose Pod Security is privileged",
)
CPU = Check(
    "cpu",
    "a container that waits for its share of the CPU sees a holder die late, and takes over late",
    CPU_HINT,
)
FORWARDING = Check(
    "forwarding",
    "a NodePort leads to pods through this node's forwarding",
    "set net.ipv4.ip_forward=1 (and net.ipv6.conf.all.forwarding=1 for IPv6) on the node",
)
RP_FILTER = Check(
    "rp-filter",
    "strict reverse path filtering drops what comes in by a second interface",
    "nothing, if an observer runs here: it sets it to loose",
)
LINKS = Check(
    "links",
    "a network manager that configures our interface leads replies elsewhere",
    "let NetworkManager or systemd-networkd leave interfaces alone that EC2 attaches",
)
ROUTING = Check(
    "routing",
    "what others have at our numbers is never replaced, so ours would not work",
    "choose numbers that are free: `table`, `priority`",
)
MARKS = Check(
    "marks",
    "who else uses our bits of the firewall mark leads our replies astray, or his own packets",
    "choose bits that are free: `mark`",
)
FIREWALL = Check(
    "firewall",
    "what a host firewall does not know, as an interface that has just come, it drops",
    "let it accept what comes in by the interfaces that EC2 attaches: ICMP, the observers' TCP port, what is for pods",
)
CONNTRACK = Check(
    "conntrack",
    "while its table is full the kernel drops whatever is new: connections, and our probes",
    "raise net.netfilter.nf_conntrack_max on the node, and find out who opens so many connections",
)
KUBE_PROXY = Check(
    "kube-proxy",
    "it decides at which of the node's addresses NodePorts are served, and since when",
    "set kube-proxy's nodePortAddresses to [0.0.0.0/0], or its mode to iptables",
)
API_SERVER = Check(
    "api-server",
    "it is the witness of two workers, and tells why a pod ends",
    "mount the service account's token, and let this node reach the API server",
)
ROLE = Check(
    "role",
    "without it nobody knows which NodePorts to check, nor that a node is being drained",
    "apply the Role and the RoleBinding of the current floating-ip.yaml",
)
NODE_PORT = Check(
    "node-port",
    "FLOATING_IP:NodePort is what all of this is for",
    "run a ready pod of the Service on this node, or set externalTrafficPolicy: Cluster",
)

CHECKS = (
    SETTINGS, IMDS, CREDENTIALS, EC2, PERMISSIONS, CLOCK, PLACE, RESERVATION, OWNER, SLOTS, SOURCE_CHECK, NO_MANAGE,
    WORKERS, PORT, ICMP, RULES, OBSERVER, CAPABILITIES, CPU, NFT, FORWARDING, RP_FILTER, LINKS, ROUTING, MARKS,
    FIREWALL, CONNTRACK, KUBE_PROXY, API_SERVER, ROLE, NODE_PORT,
)  # fmt: skip
"""All checks, in the order in which they are reported."""


def failed(findings: Iterable[Finding]) -> list[Finding]:
    """Those findings that say that something does not work."""
    return [finding for finding in findings if finding.verdict is Verdict.FAIL]
