"""
Run all checks at the same time, and return what they find within a bounded time.

A check that does not end in time is reported as not known.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from functools import partial
from queue import Empty, SimpleQueue

from floatingip.commands.doctor import finding
from floatingip.commands.doctor.checks import LOOKS
from floatingip.commands.doctor.facts import Facts, NotKnown, NoWorker
from floatingip.commands.doctor.finding import Check, Finding, Verdict
from floatingip.core.errors import CloudUnavailable, FloatingIPError, HostError, NoCredentials
from floatingip.edges import background

FOR_ATTACH = (
    finding.IMDS, finding.CREDENTIALS, finding.CLOCK, finding.PLACE, finding.OWNER, finding.SLOTS,
    finding.CAPABILITIES, finding.NFT, finding.FORWARDING, finding.ROUTING, finding.KUBE_PROXY,
)  # fmt: skip
"""The checks of what `attach` depends on.  None takes long; what IAM denies is in the error of `attach` already."""

FOR_ATTACH_WITHIN = 5.0
"""Seconds for all of these checks together."""

BY_EC2 = (
    finding.PERMISSIONS, finding.PLACE, finding.RESERVATION, finding.OWNER, finding.SLOTS, finding.SOURCE_CHECK,
    finding.NO_MANAGE, finding.WORKERS, finding.RULES,
)  # fmt: skip
"""The checks that need only EC2's answers."""

BY_A_WORKER = (
    finding.IMDS, finding.OBSERVER, finding.CAPABILITIES, finding.CPU, finding.NFT, finding.FORWARDING,
    finding.RP_FILTER, finding.LINKS, finding.ROUTING, finding.MARKS, finding.FIREWALL, finding.CONNTRACK,
    finding.KUBE_PROXY, finding.API_SERVER, finding.ROLE, finding.NODE_PORT,
)  # fmt: skip
"""The checks of the machine and container that the doctor runs in: outside a node's pod they say nothing of a node."""

BY_ITS_NETWORK = (
    finding.WORKERS, finding.PORT, finding.ICMP, finding.OBSERVER, finding.NFT, finding.FORWARDING, finding.RP_FILTER,
    finding.LINKS, finding.ROUTING, finding.MARKS, finding.FIREWALL, finding.CONNTRACK, finding.KUBE_PROXY,
    finding.NODE_PORT,
)  # fmt: skip
"""The checks that look at the network: in a container without its node's network they would look at the wrong one."""

LATE = "run the doctor again with `--within 15`: what does not answer is named then"
"""What to do about a check that has not ended in time although EC2 answers: one of its calls hangs, and would time out
a second after the doctor ends.
"""


def examine(facts: Facts, checks: Collection[Check] = finding.CHECKS, *, within: float) -> list[Finding]:
    """What these checks find ``within`` so many seconds, in the order of the checks; never raises."""
    told: SimpleQueue[tuple[str, list[Finding]]] = SimpleQueue()
    deadline, found = time.monotonic() + within, dict[str, list[Finding]]()
    asked = [check for check in checks if check.name in LOOKS]
    for check in asked:
        background.start(f"doctor-{check.name}", partial(_tell, told, check, facts))
    network = background.begin("doctor-network", lambda: facts.network)
    while len(found) < len(asked):
        try:
            name, findings = told.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        found[name] = findings
    missing = [check for check in asked if check.name not in found]
    found |= _by_another_network(found, network, deadline)
    return [each for check in asked for each in found.get(check.name, [_late(check, missing, within)])]


def _by_another_network(
    found: Mapping[str, list[Finding]], network: Future[HostError | None], deadline: float
) -> dict[str, list[Finding]]:
    """By check name, the findings to replace those found if this container has not its node's network; else none."""
    try:
        error = network.result(timeout=max(0.0, deadline - time.monotonic()))
    except Late:
        return {}
    if error is None:
        return {}
    rights = [each for each in found.get(finding.CAPABILITIES.name, ()) if each.verdict is Verdict.FAIL]
    unknown = {each.name: [each.unknown(error.args[0], f"see {finding.CAPABILITIES.name}")] for each in BY_ITS_NETWORK}
    return unknown | {finding.CAPABILITIES.name: [finding.CAPABILITIES.fail(error.args[0], error.hint), *rights]}


def _late(check: Check, missing: Collection[Check], within: float) -> Finding:
    """The finding for a check that did not end in time: a failure for the check of IMDS, or of EC2 while IMDS answers;
    otherwise not known, perhaps because of these two.
    """
    said = f"no answer within {within:g} s"
    silent = next((each for each in (finding.IMDS, finding.EC2) if each in missing), None)
    if check is silent:
        return check.fail(said)
    if silent is not None:
        return check.unknown(said, f"see {silent.name}")
    return check.unknown(said, LATE if check in BY_EC2 else "")


def _tell(told: SimpleQueue[tuple[str, list[Finding]]], check: Check, facts: Facts) -> None:
    told.put((check.name, _found(check, facts)))


def _found(check: Check, facts: Facts) -> list[Finding]:
    try:
        if facts.is_elsewhere and check in BY_A_WORKER:
            raise NoWorker
        return list(LOOKS[check.name](facts))
    except NotKnown as error:
        return [check.unknown(str(error), error.remedy)]
    except NoCredentials:
        return [check.unknown("there are no credentials for EC2", "see credentials")]
    except CloudUnavailable as error:
        return [check.unknown(f"EC2 did not answer ({error.args[0]})", "see ec2")]
    except FloatingIPError as error:
        return [check.unknown(error.args[0], error.hint)]
    except OSError as error:
        return [check.unknown(str(error))]
    except Exception as error:  # noqa: BLE001 - one check that fails must not hide the others
        return [check.unknown(f"a defect of the doctor's: {type(error).__name__}: {error}")]
