"""
What EC2's refusals, and all else that the SDK raises, mean for us: the one place that knows EC2's error codes.

A part of ``ec2``.  What comes in place of EC2's answer is no answer.  What cannot be read proves neither that something
exists nor that it does not, and after a write it does not prove that the write was made.  See docs/ec2-errors.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from xml.etree.ElementTree import Element

import botocore.exceptions

from floatingip.core.errors import (
    AddressTaken,
    CloudError,
    CloudUnavailable,
    Denied,
    FloatingIPError,
    LookAgain,
    NoCredentials,
    NoFreeSlot,
    Throttled,
    TokenSpent,
)

EXCERPT = 60
"""Bytes of an answer that is not EC2's which a message quotes."""

MOST_TOLD = 200
"""Characters of a library's message that are kept: it may quote a whole answer."""

ROLE_HINT = "give the pod a role (IRSA, Pod Identity or the node's)"


class NoSuchEni(LookAgain):
    """The interface is gone, or not visible yet."""


class IndexTaken(CloudError):
    """The device index is in use on this instance: the next one may be free."""


MEANING: Mapping[str, type[CloudError]] = {
    "InvalidNetworkInterface.InUse": LookAgain,
    "InvalidNetworkInterfaceID.NotFound": NoSuchEni,
    "InvalidAttachmentID.NotFound": LookAgain,
    "InvalidInstanceID.NotFound": LookAgain,
    "InvalidIPAddress.InUse": LookAgain,
    "IncorrectState": LookAgain,
    "IncorrectInstanceState": LookAgain,
    "IdempotentParameterMismatch": TokenSpent,
    "Resource.AlreadyAssigned": LookAgain,
    "Resource.AlreadyAssociated": AddressTaken,
    "InvalidIPAddress.AlreadyAssociated": AddressTaken,
    "AttachmentLimitExceeded": NoFreeSlot,
    "PrivateIpAddressLimitExceeded": NoFreeSlot,
    "RequestLimitExceeded": Throttled,
    "Throttling": Throttled,
    "ThrottlingException": Throttled,
    "InternalError": CloudUnavailable,
    "InternalFailure": CloudUnavailable,
    "ServiceUnavailable": CloudUnavailable,
    "Unavailable": CloudUnavailable,
    "AuthFailure": CloudUnavailable,
    "ExpiredToken": CloudUnavailable,
    "ExpiredTokenException": CloudUnavailable,
    "IncompleteSignature": CloudUnavailable,
    "InvalidClientTokenId": CloudUnavailable,
    "MissingAuthenticationToken": CloudUnavailable,
    "RequestExpired": CloudUnavailable,
    "SignatureDoesNotMatch": CloudUnavailable,
    "UnrecognizedClientException": CloudUnavailable,
}

NOT_ACCEPTED = {
    "AuthFailure": "",
    "ExpiredToken": "",
    "ExpiredTokenException": "",
    "IncompleteSignature": "",
    "InvalidClientTokenId": "",
    "MissingAuthenticationToken": "",
    "RequestExpired": "is the node's clock right?",
    "SignatureDoesNotMatch": "is the node's clock right?",
    "UnrecognizedClientException": "",
}

# EC2 has only one code for everything that can be wrong with an address that is taken from an ENI, or given to one.
MOVED_MEANWHILE = {**MEANING, "InvalidParameterValue": LookAgain}

COUNTED = frozenset({"DryRunOperation", "InvalidParameterValue"})
"""Other codes that are counted by their names: that of a dry run that would succeed, and one that has many meanings."""

DENIALS = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})


class _NotEc2sError(Exception):
    """Something else answered in EC2's place: a proxy, a load balancer, a captive page."""


_ROOT = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<(\w+)[\s/>]")


def refuse_what_is_not_ec2s(operation_model: Any, response_dict: Mapping[str, Any], **_: object) -> None:
    """Called with each answer before the SDK reads it, which takes any well-formed page for an empty answer."""
    status, body = response_dict["status_code"], response_dict["body"] or b""
    root = _ROOT.match(body)
    name = root[1].decode() if root else ""
    if status < 300:
        # The SDK does not even look at a body from which it needs nothing, even if that is cut off.
        is_whole = body.rstrip().endswith(f"</{name}>".encode())
        is_ec2s = name == f"{operation_model.name}Response" and is_whole and b"<return>false</return>" not in body
    else:
        is_ec2s = name in ("Response", "ErrorResponse") and b"<Code>" in body
    if not is_ec2s:
        said = body[:EXCERPT].decode("utf-8", "replace")
        raise _NotEc2sError(f"HTTP {status} with {said!r}" if said else f"HTTP {status} with nothing")


def refuse_what_stands_twice(parsed: Mapping[str, Any], **_: object) -> None:
    """Called with each answer after the SDK has read it: it leaves a field that is there twice as XML, not text."""
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
    """Map whatever is raised while EC2 is called, and its answer is read, to what that means for us.

    It may be any exception: the SDK passes on what its HTTP library, its parsers and its sources of credentials raise.
    """
    try:
        yield
    except FloatingIPError:
        raise
    except botocore.exceptions.ClientError as error:
        raise _cloud_error(action, error, codes) from error
    except botocore.exceptions.NoCredentialsError as error:
        raise NoCredentials(f"{action}: no AWS credentials", ROLE_HINT) from error
    except (botocore.exceptions.BotoCoreError, OSError) as error:
        raise CloudUnavailable(f"{action}: {one_line(error)}") from error
    except _NotEc2sError as error:
        hint = "something answers in EC2's place; is there a proxy (HTTPS_PROXY), or an endpoint that is not EC2's?"
        raise CloudUnavailable(f"{action}: {error}", hint) from error
    except Exception as error:
        said = f"{type(error).__name__}: {one_line(error)}"
        raise CloudUnavailable(f"{action}: the answer cannot be read: {said[:MOST_TOLD]}") from error


def _cloud_error(
    action: str, error: botocore.exceptions.ClientError, codes: Mapping[str, type[CloudError]]
) -> CloudError:
    told = error.response.get("Error", {})
    code, message = told.get("Code") or "", one_line(told.get("Message") or "")
    if code in DENIALS:
        named = re.search(r"perform:? ([a-z0-9-]+:[A-Za-z0-9]+)", message)
        return Denied(named[1] if named else f"ec2:{action}")
    if code in NOT_ACCEPTED:
        hint = NOT_ACCEPTED[code] or "AWS does not accept the credentials of this pod's role; others are looked for"
        return NoCredentials(f"{action}: {code}: {message}", hint)
    failed = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500
    # EC2 throttles with status 503, and then has done nothing; after its other failures it may have.
    if not code or (failed and codes.get(code) is not Throttled):
        return CloudUnavailable(f"{action}: {code}: {message}")
    if code == "InvalidParameterValue" and "attached at device index" in message:
        return IndexTaken(f"{action}: {message}")
    if code == "InvalidParameterValue" and re.search(r"currently in use|already in use", message):
        return LookAgain(f"{action}: {code}: {message}")
    kind = codes.get(code, CloudError)
    return kind(f"{action}: {code}: {message}")


def code_of(error: BaseException) -> str:
    """By what name an error is counted: EC2's code if it is known here, since nobody else may invent names; otherwise
    ``other``, and ``none`` where EC2 did not answer.
    """
    if not isinstance(error, botocore.exceptions.ClientError):
        return "none"
    code = error.response.get("Error", {}).get("Code") or ""
    return code if code in MEANING or code in DENIALS or code in COUNTED else "other"


def one_line(value: object) -> str:
    """The value's text in one line."""
    return " ".join(str(value).split())
