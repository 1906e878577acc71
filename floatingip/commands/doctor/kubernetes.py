"""What the Kubernetes API server answers this pod."""

from __future__ import annotations

from collections.abc import Iterator

from floatingip.commands.doctor.finding import API_SERVER, ROLE, Finding
from floatingip.core.errors import ServicesUnknown
from floatingip.core.node import OwnPod

AGAIN = "run the doctor again; does it stay so, look at the control plane"
"""What to do about an error that is no refusal: an API server that is overloaded, or about to end, does not say why."""


def api_server(own: OwnPod) -> Iterator[Finding]:
    """The API server answers, with whatever result."""
    if own.answered:
        yield API_SERVER.ok("it answers")
    elif own.unset:
        yield API_SERVER.unknown(f"this is no pod of the manifest ({own.unset} is not set)")
    else:
        yield API_SERVER.failing(own.problem)


def role(own: OwnPod, services: ServicesUnknown | None) -> Iterator[Finding]:
    """The role allows to get the own pod and to list Services: both were tried; ``services`` is why the list failed."""
    if not own.answered:
        yield ROLE.unknown("the API server has not answered")
        return
    if own.refused:
        yield ROLE.failing(own.problem)
    else:
        yield ROLE.unknown(own.problem, AGAIN) if own.problem else ROLE.ok("this pod may be read")
    if services is None:
        yield ROLE.ok("the Services of its namespace may be listed")
    else:
        said = services.args[0]
        yield ROLE.fail(said, services.hint) if services.hint else ROLE.unknown(said, AGAIN)
