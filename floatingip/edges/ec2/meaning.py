"""
What EC2's refusals, and all other errors that the SDK raises, mean for us: the one place that knows EC2's error codes.

A part of ``ec2``.  If something else answers in EC2's place, that is no answer.  An answer that cannot be read proves
neither that something exists nor that it does not, nor that a write was made.  See docs/ec2-errors.md.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.request import getproxies
from xml.etree.ElementTree import Element

import botocore.exceptions
from botocore.parsers import ResponseParserError

from floatingip.core.errors import (
    AddressTaken,
    CloudError,
    CloudUnavailable,
    Denied,
    Exhausted,
    FloatingIPError,
    LookAgain,
    NoCredentials,
    NoFreeSlot,
    Throttled,
    TokenSpent,
)

EXCERPT = 60
"""Bytes, at most, that a message quotes of an answer that is not EC2's."""

MOST_TOLD = 200
"""Characters, at most, that a message quotes of what EC2 or a library says, which may contain a whole answer."""

ROLE_HINT = "give the pod a role (IRSA, Pod Identity or the node's); elsewhere `aws sts get-caller-identity` must work"
CLOCK_HINT = "is the node's clock right?"
OTHERS_HINT = "AWS does not accept the credentials of this pod's role; others are looked for"
PROXY_HINT = "something answers in EC2's place; is there a proxy (HTTPS_PROXY), or an endpoint that is not EC2's?"
UNREACHED_HINT = "correct HTTPS_PROXY, or name EC2's endpoint in NO_PROXY"
NAME_HINT = "does this machine's name server answer (/etc/resolv.conf), and is there such a Region?"

BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
"""Variables that name the certificates that the SDK trusts; the first one that is set counts."""

OTHER_ENDPOINTS = ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")
"""Variables that make the SDK use endpoints with other names, which not every Region has."""


class NoSuchEni(LookAgain):
    """The interface is gone, or not visible yet."""


class IndexTaken(CloudError):
    """The device index is in use on this instance: the next one may be free."""


MEANING: Mapping[str, type[CloudError]] = {
    "InvalidNetworkInterface.InUse": LookAgain,
    "InvalidNetworkInterface.NotFound": NoSuchEni,
    "InvalidNetworkInterfaceID.NotFound": NoSuchEni,
    "InvalidAttachmentID.NotFound": LookAgain,
    "InvalidInstanceID.NotFound": LookAgain,
    "InvalidIPAddress.InUse": LookAgain,
    "IncorrectState": LookAgain,
    "IncorrectInstanceState": LookAgain,
    "InvalidState": LookAgain,
    "InvalidInstanceState": LookAgain,
    "IdempotentParameterMismatch": TokenSpent,
    "Resource.AlreadyAssigned": LookAgain,
    "Resource.AlreadyAssociated": AddressTaken,
    "InvalidIPAddress.AlreadyAssociated": AddressTaken,
    "AttachmentLimitExceeded": NoFreeSlot,
    "PrivateIpAddressLimitExceeded": NoFreeSlot,
    "InsufficientFreeAddressesInSubnet": Exhausted,
    "NetworkInterfaceLimitExceeded": Exhausted,
    "ResourceLimitExceeded": Exhausted,
    "RequestLimitExceeded": Throttled,
    "Throttling": Throttled,
    "ThrottlingException": Throttled,
    "ConcurrentTagAccess": Throttled,
    "InvalidNextToken": CloudUnavailable,
    "InvalidPaginationToken": CloudUnavailable,
    "InternalError": CloudUnavailable,
    "InternalFailure": CloudUnavailable,
    "RetryableError": CloudUnavailable,
    "ServiceUnavailable": CloudUnavailable,
    "Unavailable": CloudUnavailable,
    "AuthFailure": CloudUnavailable,
    "ExpiredToken": CloudUnavailable,
    "ExpiredTokenException": CloudUnavailable,
    "IncompleteSignature": CloudUnavailable,
    "InvalidClientTokenId": CloudUnavailable,
    "InvalidSecurity.RequestHasExpired": CloudUnavailable,
    "MissingAuthenticationToken": CloudUnavailable,
    "RequestExpired": CloudUnavailable,
    "SignatureDoesNotMatch": CloudUnavailable,
    "UnrecognizedClientException": CloudUnavailable,
}

OTHER_THROTTLES = re.compile(r"Throttl|TooManyRequests|RequestLimitExceeded|SlowDown", re.IGNORECASE)
"""What the codes contain by which AWS throttles, beside those that EC2 documents."""

NOT_ACCEPTED = {
    "AuthFailure": f"{OTHERS_HINT}; {CLOCK_HINT}",  # EC2 says the same if the node's clock is wrong.
    "ExpiredToken": "",
    "ExpiredTokenException": "",
    "IncompleteSignature": "",
    "InvalidClientTokenId": "",
    "InvalidSecurity.RequestHasExpired": CLOCK_HINT,
    "MissingAuthenticationToken": "",
    "RequestExpired": CLOCK_HINT,
    "SignatureDoesNotMatch": CLOCK_HINT,
    "UnrecognizedClientException": "",
}

ANOTHER_ACCOUNTS = re.compile(r"not belong to you|not have permission|not authorized", re.IGNORECASE)
"""What EC2 says with the code AuthFailure of something that another account has: then the credentials are good."""

# EC2 has only one code for everything that can go wrong when an address is taken from an ENI, or given to one.
MOVED_MEANWHILE = {**MEANING, "InvalidParameterValue": LookAgain}

SOMEBODY_WAS_QUICKER = re.compile(r"\bin use\b|\bassigned, but move is not allowed")
"""What EC2 says with the code InvalidParameterValue, which has many meanings, if another node was first."""

COUNTED = frozenset({"DryRunOperation", "InvalidParameterValue"})
"""Other codes that are counted by name: that of a dry run that would succeed, and one that has many meanings."""

DENIALS = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})

IN_THE_WAY = re.compile(
    r"(?:explicit deny in (?:an?|the)|because no) (?!identity-based policy allows)"
    r"((?:[A-Za-z-]+ ){1,3}?(?:policy|boundary))\b"
)
"""The kind of policy that a denial names as its cause, unless the cause is only that none of the role's own policies
allows the call ("Troubleshoot access denied error messages", IAM User Guide).
"""


DENIED_FOR = re.compile(r"on resource: arn:[a-z-]+:ec2:[a-z0-9-]*:[0-9]*:([a-z-]+/[a-z]+-[0-9a-f]+)\b")
"""The resource for which a call is denied, if the denial names one: an interface, an instance, ..."""


class _NotEc2sError(Exception):
    """Something else answered in EC2's place: a proxy, a load balancer, a captive page."""


_ROOT = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<(\w+)[\s/>]")


def refuse_what_is_not_ec2s(operation_model: Any, response_dict: Mapping[str, Any], **_: object) -> None:
    """Called with each answer before the SDK reads it: the SDK takes any well-formed page for an empty answer."""
    status, body = response_dict["status_code"], response_dict["body"] or b""
    root = _ROOT.match(body)
    name = root[1].decode() if root else ""
    if status < 300:
        # If the SDK needs nothing from a body it does not look at it, even if the body is cut off.
        is_whole = body.rstrip().endswith(f"</{name}>".encode())
        is_ec2s = name == f"{operation_model.name}Response" and is_whole and b"<return>false</return>" not in body
    else:
        is_ec2s = name in ("Response", "ErrorResponse") and b"<Code>" in body
    if not is_ec2s:
        said = body[:EXCERPT].decode("utf-8", "replace")
        raise _NotEc2sError(f"HTTP {status} with {said!r}" if said else f"HTTP {status} with nothing")


def refuse_what_stands_twice(parsed: Mapping[str, Any], **_: object) -> None:
    """Called with each answer after the SDK has read it: a field that stands there twice is still XML, not text."""
    waiting: list[object] = [parsed]
    while waiting:
        match value := waiting.pop():
            case Mapping():
                waiting.extend(value.values())
            case list():
                waiting.extend(value)
            case Element(tag=tag):
                raise ValueError(f"{tag.rpartition('}')[2]} stands twice")


@contextmanager
def meaning(action: str, codes: Mapping[str, type[CloudError]] = MEANING) -> Iterator[None]:
    """Map every exception that is raised while EC2 is called, and its answer is read, to one of our errors.

    Any exception may come: the SDK passes on those of its HTTP library, its parsers and its sources of credentials.
    """
    try:
        yield
    except FloatingIPError:
        raise
    except botocore.exceptions.ClientError as error:
        raise _cloud_error(action, error, codes) from error
    except botocore.exceptions.NoCredentialsError as error:
        raise NoCredentials(f"{action}: no AWS credentials", ROLE_HINT) from error
    except botocore.exceptions.SSLError as error:
        raise CloudUnavailable(f"{action}: {told(error)}", _trust_hint()) from error
    except (botocore.exceptions.BotoCoreError, OSError) as error:
        raise CloudUnavailable(f"{action}: {told(error)}", _unreached_hint(error)) from error
    except _NotEc2sError as error:
        raise CloudUnavailable(f"{action}: {error}", PROXY_HINT) from error
    except Exception as error:
        said = f"{type(error).__name__}: {told(error)}"
        raise CloudUnavailable(f"{action}: the answer cannot be read: {said}") from error


def _trust_hint() -> str:
    """What to do where TLS fails."""
    bundle = next((f"{key}={value}" for key in BUNDLES if (value := os.environ.get(key))), BUNDLES[0])
    return f"is the node's clock right, {bundle} what the endpoint's certificate needs, and is there a proxy?"


def _unreached_hint(error: Exception) -> str:
    """What to do if a proxy or a name server is the cause, or may be; empty if neither is."""
    cannot_be_sent = type(error) is botocore.exceptions.HTTPClientError and not isinstance(
        error.kwargs.get("error"), CloudError
    )
    may_be = isinstance(error, botocore.exceptions.ProxyConnectionError) or (cannot_be_sent and getproxies())
    if may_be:
        return UNREACHED_HINT
    if not isinstance(_systems(error), socket.gaierror):
        return ""
    chosen = [f"{key}={value}" for key in OTHER_ENDPOINTS if (value := os.environ.get(key, "")).lower() == "true"]
    return f"is there such an endpoint in this Region ({', '.join(chosen)})?" if chosen else NAME_HINT


def _systems(error: BaseException) -> OSError | None:
    """The system's error below the libraries' errors; None if there is none."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below
        below = below.__cause__ or below.__context__
    return None


def told(error: Exception) -> str:
    """What a library says went wrong, in a short line, without what it quotes of a question or an answer: that may
    contain secrets.
    """
    if isinstance(error, ResponseParserError):
        return "what came is no XML, or was cut off"
    if type(error) is botocore.exceptions.HTTPClientError:
        cause = error.kwargs.get("error")
        return str(cause) if isinstance(cause, CloudError) else f"it cannot be sent, or read ({type(cause).__name__})"
    said = one_line(error)[:MOST_TOLD]
    if isinstance(error, botocore.exceptions.EndpointConnectionError) and (below := _systems(error)) is not None:
        # The SDK names only the endpoint that it has not reached, and not the cause.
        return f"{said} ({below.strerror})"
    return said


def _cloud_error(
    action: str, error: botocore.exceptions.ClientError, codes: Mapping[str, type[CloudError]]
) -> CloudError:
    said = error.response.get("Error", {})
    code, message = code_in(error.response), one_line(said.get("Message") or "")
    if code in DENIALS:
        named, in_the_way = re.search(r"perform:? ([a-z0-9-]+:[A-Za-z0-9]+)", message), IN_THE_WAY.search(message)
        policy, on = in_the_way[1] if in_the_way else "", DENIED_FOR.search(message)
        return Denied(named[1] if named else f"ec2:{action}", policy=policy, resource=on[1] if on else "")
    message = message[:MOST_TOLD]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if is_not_accepted(error.response):
        hint = NOT_ACCEPTED[code] or OTHERS_HINT
        return NoCredentials(f"{action}: {code}: {message}", hint)
    if code in NOT_ACCEPTED:
        return CloudError(f"{action}: {code}: {message}")
    is_throttle = status == HTTPStatus.TOO_MANY_REQUESTS or OTHER_THROTTLES.search(code)
    kind = codes.get(code, Throttled if is_throttle else CloudError)
    # EC2 throttles with status 503, and has done nothing then.  A call that fails on EC2's side otherwise may be done.
    if not code or (kind is not Throttled and (status >= 500 or status == HTTPStatus.REQUEST_TIMEOUT)):
        return CloudUnavailable(": ".join(filter(None, (action, code, message))))
    if "attached at device index" in message:
        return IndexTaken(f"{action}: {message}")
    if code == "InvalidParameterValue" and SOMEBODY_WAS_QUICKER.search(message):
        return LookAgain(f"{action}: {code}: {message}")
    return kind(f"{action}: {code}: {message}")


def is_not_accepted(answer: Mapping[str, Any]) -> bool:
    """Whether EC2 says in its answer that it does not accept the credentials."""
    code, said = code_in(answer), answer.get("Error", {}).get("Message") or ""
    return code in NOT_ACCEPTED and not (code == "AuthFailure" and ANOTHER_ACCOUNTS.search(one_line(said)))


def code_in(answer: Mapping[str, Any]) -> str:
    """The error code in EC2's answer, empty if there is none, without the prefix ``Client.`` or ``Server.`` of some."""
    code = one_line(answer.get("Error", {}).get("Code") or "")[:MOST_TOLD]
    return code.removeprefix("Client.").removeprefix("Server.")


def code_of(error: BaseException) -> str:
    """The name under which an error is counted: EC2's code if it is known here, since nobody else may invent names;
    ``other`` for any other code; ``none`` if EC2 did not answer.
    """
    if not isinstance(error, botocore.exceptions.ClientError):
        return "none"
    code = code_in(error.response)
    return code if code in MEANING or code in DENIALS or code in COUNTED else "other"


def one_line(value: object) -> str:
    """The value's text in one line."""
    return " ".join(str(value).split())
