"""What the tests of the lab's EC2 share: an endpoint that ends with its test, waiting for it, and its refusals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError

from lab.ec2 import Ec2, Profile
from lab.ec2.devices import Devices

M = TypeVar("M", bound=Devices)
L = TypeVar("L")


def started(
    machines: Callable[[], M], lab: Callable[[Ec2, M, list[dict[str, Any]]], L]
) -> Iterator[Callable[[Profile], L]]:
    """What a fixture yields that starts labs, each with its own machines and the events that its endpoint records."""
    running: list[Ec2] = []

    def start(profile: Profile) -> L:
        made, events = machines(), list[dict[str, Any]]()
        running.append(Ec2(profile, made, events.append, seed=1))
        return lab(running[-1], made, events)

    yield start
    for ec2 in running:
        ec2.stop()


def soon(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until the condition holds, at most so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)


def refused(call: Callable[..., object], *args: Any, **kwargs: Any) -> tuple[str, str]:
    """The code and message of the error that the call must end with."""
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def refusal(call: Callable[..., object], *args: Any, **kwargs: Any) -> str:
    """The code of that error."""
    return refused(call, *args, **kwargs)[0]
