"""Histories by hand, event by event: a good failover by each way to carry, and what may be wrong in others."""

from typing import Any

from lab.run.account import Event

ADDRESS = "10.0.0.100"
A, B = "i-aaaa", "i-bbbb"
ENI_A, ENI_B = "eni-standing-a", "eni-standing-b"
ALLOCATION = "eipalloc-1"
PEACE = {"memory": 80_000, "threads": 8, "files": 20}
CUT = 10.0
"""When the power is cut."""


def attempts(
    down: tuple[float, float] | None = None, *, client: str = "in", until: float = 30.0, pause: float = 0.02
) -> list[Event]:
    """A client's attempts every `pause` seconds from 0; those that start in [down) fail after a second."""
    events: list[Event] = []
    for number in range(int(until / pause)):
        started = number * pause
        ok = down is None or not down[0] <= started < down[1]
        outcome = {"ok": ok, "error": None if ok else "timeout", "answer": "worker-a" if ok else None}
        took = 0.001 if ok else 1.0
        told = {"t": started + took, "source": "client", "event": "attempt", "client": client, "started": started}
        events.append({**told, **outcome})
    return events


def attachment(t: float, name: str, instance: str, status: str, **more: Any) -> Event:
    common = {"source": "ec2", "event": "attachment", "eni": "eni-1", "address": ADDRESS, "forced": False}
    return {**common, "t": t, "attachment": name, "instance": instance, "status": status, **more}


def call(t: float, action: str, caller: str = B, **parameters: str) -> Event:
    """EC2's record of one call, which took 10 ms."""
    common = {"source": "ec2", "event": "call", "error": None}
    return {**common, "t": t + 0.01, "began": t, "action": action, "caller": caller, "params": parameters}


def device(t: float, instance: str, status: str = "visible") -> Event:
    return {"t": t, "source": "ec2", "event": "device", "eni": "eni-1", "instance": instance, "status": status}


def log(t: float, line: str, **fields: str) -> Event:
    common = {"source": "agent", "event": "log", "pod": "floating-ip-b", "node": "worker-b", "container": "observer"}
    return {**common, "t": t, "line": line, "fields": fields}


def ended(t: float, reason: str, code: int) -> Event:
    """The kubelet's record of a container's end."""
    common = {"source": "kubelet", "event": "exit", "pod": "floating-ip-b", "node": "worker-b", "container": "observer"}
    return {**common, "t": t, "reason": reason, "code": code}


def address(t: float, eni: str, status: str, *, of: str = ADDRESS) -> Event:
    """EC2's record of one step of an address that moves between standing ENIs."""
    instance = {ENI_A: A, ENI_B: B}[eni]
    common = {"source": "ec2", "event": "address", "address": of, "eni": eni, "instance": instance}
    return {**common, "t": t, "status": status}


def associated(t: float, eni: str, private: str, allocation: str = ALLOCATION) -> Event:
    """An Elastic IP leads to this private address from now on."""
    told = {"t": t, "source": "ec2", "event": "association", "allocation": allocation, "eni": eni, "address": private}
    return {**told, "status": "associated"}


def takeover(t: float, **fields: str) -> Event:
    return log(t, "event=takeover", event="takeover", **fields)


def nemesis(t: float, event: str) -> Event:
    """The power cut begins or ends; or the holder dies, after all that led to it."""
    return {"t": t, "source": "nemesis", "event": event, "name": "power-cut", "target": "worker-a"}


def usage(**most: int) -> Event:
    """What an observer had at most while it was attacked."""
    told = {"t": 29.0, "source": "lab", "event": "usage", "node": "worker-b", "before": PEACE}
    return {**told, "most": {**PEACE, **most}}


def attack(kind: str = "words", **did: int) -> Event:
    """One on the observers, and what it did."""
    return {"t": 29.0, "source": "lab", "event": "attack", "kind": kind, "did": did}


def pod(t: float, node: str, detail: str) -> Event:
    """The kubelet's record of a pod's readiness."""
    common = {"source": "kubelet", "event": "pod", "pod": f"floating-ip-{node}", "node": node, "phase": "Running"}
    return {**common, "t": t, "detail": detail}


WELL, LOST = attempts(), attempts((CUT, 18.2))
"""Of a client to which nothing happened, and of one that the power cut hit."""

FIRST = [
    attachment(1.0, "eni-attach-1", A, "attaching"),
    attachment(2.0, "eni-attach-1", A, "attached"),
    device(2.1, A),
]

BEGUN = [*WELL, *FIRST]

FAILOVER = [
    *FIRST,
    nemesis(CUT, "begin"),
    takeover(11.9, time="1970-01-01T00:00:11.500Z"),
    call(11.5, "DetachNetworkInterface", AttachmentId="eni-attach-1"),
    attachment(11.51, "eni-attach-1", A, "detaching"),
    attachment(14.0, "eni-attach-1", A, "detached"),
    call(14.1, "AttachNetworkInterface", NetworkInterfaceId="eni-1"),
    attachment(14.11, "eni-attach-2", B, "attaching"),
    attachment(17.1, "eni-attach-2", B, "attached"),
    device(18.1, B),
    nemesis(20.0, "end"),
]
"""A power cut at 10: detected after 1.5 s; EC2 takes 2.5 s to detach, 3 s to attach, 1 s to show the device."""

CARRIED = [address(1.0, ENI_A, "assigning"), address(2.0, ENI_A, "assigned")]

MOVED = [
    *CARRIED,
    nemesis(CUT, "begin"),
    takeover(11.9, time="1970-01-01T00:00:11.400Z"),
    call(11.4, "AssignPrivateIpAddresses", NetworkInterfaceId=ENI_B, AllowReassignment="true"),
    address(11.4, ENI_B, "assigning"),
    address(12.6, ENI_A, "unassigned"),
    address(12.6, ENI_B, "assigned"),
    nemesis(20.0, "end"),
]
"""The same power cut with `carry: address`: detected after 1.4 s, moved by one call that takes EC2 1.2 s."""
