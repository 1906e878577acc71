"""
The client of EC2: boto3 with our timeouts, our connections, and credentials that our keeper gives it.

A part of ``ec2``, and the only module that imports boto3.  The SDK repeats no call: after a timeout nobody knows
whether a write was made, so the caller looks again instead of sending it a second time.  The SDK's own retries could
repeat an attach that had succeeded.
"""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import boto3
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.loaders
import botocore.session
import botocore.utils
from botocore.parsers import ResponseParserError

from floatingip.core.errors import ConfigurationError, NoCredentials
from floatingip.edges.ec2 import connections
from floatingip.edges.ec2.credentials import Keeper
from floatingip.edges.ec2.meaning import (
    CLOCK_HINT,
    DENIALS,
    ROLE_HINT,
    code_in,
    is_not_accepted,
    meaning,
    one_line,
    told,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

connections.install()

CONNECT_TIMEOUT = 2.0
"""Seconds until a connection must be there: it usually takes much less than one."""

LONGEST = 20.0
"""Seconds that one answer may take if answers are seen to take that long, unless the settings say otherwise."""

_KEY = re.compile(r"[!-~]+")

TEMPORARY = "ASIA"
"""The beginning of the access key of temporary credentials ("IAM identifiers", IAM User Guide)."""

IMDS = ("169.254.169.254", "[fd00:ec2::254]")
"""The hosts in the URLs of IMDS."""

ENDPOINTS = ("AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL")

SOURCES = (
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_ENDPOINT_URL_STS",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
    "AWS_METADATA_SERVICE_TIMEOUT",
)
"""Variables that say how credentials are looked for, and that are only set on purpose."""

NO_IMDS = "AWS_EC2_METADATA_DISABLED"
"""Keeps the SDK from looking for the node's role; our own questions to IMDS do not depend on it."""

OF_A_PERSON = {"credential_process", "mfa_serial", "source_profile"}
"""Keys of a profile whose credentials come from a person, a program or another profile."""

LASTS = 60.0
"""Seconds for which credentials of a person or a program must still be good; otherwise new ones are asked for."""

LIFETIME = "AWS_CREDENTIAL_EXPIRATION"
"""Until when the credentials in the environment are good, as `aws configure export-credentials` writes it."""


def check_environment() -> None:
    """Raise ``ConfigurationError`` for an environment with which the SDK cannot work.

    Two things are repaired.  Variables without a value are removed, since the SDK takes an empty one for a value, such
    as a profile with no name.  IMDS is excepted from proxies: a proxy would reach its own IMDS, or none, and see the
    node's keys.
    """
    for key in [key for key, value in os.environ.items() if key.startswith("AWS_") and not value.strip()]:
        del os.environ[key]
    proxies = getproxies_environment()
    spared = [host for host in proxies.pop("no", "").split(",") if host]
    if proxies and spared != ["*"]:
        os.environ["no_proxy"] = ",".join(dict.fromkeys((*spared, *IMDS)))  # Lower case wins over upper case.
    for key in ENDPOINTS:
        url = os.environ.get(key, "")
        if url and not _is_url(url):
            raise ConfigurationError(f"{key}: {url!r} in the environment is no URL", f"correct it, or unset {key}")
    with _configuring():
        botocore.session.Session().get_scoped_config()


def _is_url(text: str) -> bool:
    """Whether the SDK would take the text as an endpoint, and could reach it."""
    try:
        _ = urlsplit(text).port  # The port is parsed only when it is read.
        is_hosts = botocore.utils.is_valid_endpoint_url(text) or botocore.utils.is_valid_ipv6_endpoint_url(text)
    except ValueError:
        return False
    return bool(is_hosts and re.match(r"https?://", text, re.IGNORECASE) and text.isascii())


def client(region: str, longest: float = LONGEST) -> EC2Client:
    """A client of the Region's EC2 endpoint.

    It uses the credentials of the pod, or else of the instance, as soon as there are some.  An answer may take
    ``longest`` seconds if answers are seen to take long.  Raises ``ConfigurationError`` for an environment that the SDK
    cannot use.
    """
    check_environment()
    keeper = _keeper(region)
    with _configuring(), _without_collector():
        made = _signing(region, longest, keeper).client("ec2")

    def answered(**call: Any) -> None:
        if is_not_accepted(call["parsed"]):
            keeper.refused()
        elif code_in(call["parsed"]) in DENIALS:
            keeper.doubted()

    made.meta.events.register("after-call.ec2", answered)
    return made


def identity(region: str, longest: float) -> str:
    """Whose credentials `client` would use: the caller's ARN, asked of STS, which needs no permission.

    Raises ``CloudError``.
    """
    keeper = _keeper(region)
    with meaning("GetCallerIdentity"):
        with _configuring():
            sts = _signing(region, longest, keeper).client("sts")
        return str(cast(Any, sts).get_caller_identity()["Arn"])


def obtain(region: str) -> None:
    """Get the credentials for which the user's profile asks for a code (MFA) or runs a program.

    That takes longer than any question may, must not happen twice at a time, and belongs in the thread that Ctrl-C
    ends.  So commands call this before anything else, and again if they run for longer than the credentials last; all
    clients use its last result.  Nothing is done if there is no such profile, as in a pod, or if the last credentials
    are still good.  Raises ``ConfigurationError`` and ``NoCredentials``.
    """
    if any(isinstance(given, _Credentials) and given.lasts(LASTS) for given in _obtained):
        return
    with _configuring():
        profile = botocore.session.Session().get_scoped_config()
    if os.environ.get("AWS_ACCESS_KEY_ID") or not OF_A_PERSON & profile.keys():
        return
    try:
        _obtained[:] = [_find_credentials(region)]
    except NoCredentials as error:
        _obtained[:] = [error]
        raise


_obtained: list[_Credentials | NoCredentials] = []
"""The last result of `obtain`; an empty list if it has done nothing."""


def _keeper(region: str) -> Keeper[Any]:
    if not _obtained:
        return Keeper(lambda: _find_credentials(region), _credentials_of_environment(), _credentials_hint())
    used = [given for given in _obtained if isinstance(given, _Credentials)]

    def find() -> _Credentials:
        """The credentials that `obtain` has got since; a search from here would ask the person twice."""
        [given] = _obtained
        if isinstance(given, NoCredentials):
            # A new exception each time: the traceback of one that is raised again and again grows.
            raise NoCredentials(given.args[0], given.hint)
        if given in used:
            why = "no AWS credentials: the profile's have ended, or are refused"
            raise NoCredentials(why, "run the command again")
        used.append(given)
        return given

    return Keeper(find, used[-1] if used else None, _credentials_hint())


def _signing(region: str, longest: float, keeper: Keeper[Any]) -> boto3.session.Session:
    """The SDK, signing with the credentials that ``keeper`` has."""
    session = _session(region, longest)
    session.register_component("credential_provider", _Provider(keeper))
    return boto3.session.Session(botocore_session=session)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Run no garbage collector: all of EC2's model stays, and to look through it again and again while it is read takes
    as long as reading it.

    Afterwards it runs, also if it did not before: then another thread was just here, and may be gone by now.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _configuring() -> Iterator[None]:
    """Map errors that the SDK raises for its own configuration, before anything is asked."""
    try:
        yield
    except (botocore.exceptions.BotoCoreError, ValueError, OSError) as error:
        said = one_line(error)
        named = ", ".join(f"{key}={value}" for key, value in _read_of_environment(said)) or "~/.aws/config"
        raise ConfigurationError(f"the AWS SDK cannot be set up: {said}", f"correct {named}") from error


def _read_of_environment(said: str) -> list[tuple[str, str]]:
    """The variables, with their values, that may be the cause of what the SDK ``said``: those whose value it quotes, or
    else all.

    Only variables that configure the SDK are taken: their values are no secrets.
    """
    keys = [key for _, keys, *_ in botocore.session.Session.SESSION_VARIABLES.values() for key in _listed(keys)]
    found = [(key, os.environ[key]) for key in (*keys, *ENDPOINTS) if key in os.environ]
    return [(key, value) for key, value in found if one_line(value) in said] or found


def _listed(keys: str | list[str] | None) -> list[str]:
    return [keys] if isinstance(keys, str) else keys or []


def _session(region: str, longest: float) -> botocore.session.Session:
    """The SDK, with our timeouts for everything that it asks."""
    session = botocore.session.Session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    session.set_config_variable("region", region)
    config = botocore.config.Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=longest,
        retries={"total_max_attempts": 1, "mode": "standard"},
        tcp_keepalive=True,
        max_pool_connections=8,
    )
    session.set_default_client_config(config)
    # Times are left as EC2 wrote them, so that one that cannot be read does not spoil the whole answer.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    return session


@cache
def _loader(path: str | None) -> botocore.loaders.Loader:
    """The SDK's loader, which reads its models and keeps them: that takes most of the time of making a client."""
    return botocore.loaders.create_loader(path)


@dataclass(frozen=True, slots=True)
class _Provider:
    """Gives the SDK the keeper's credentials, instead of those that it would look for only once."""

    keeper: Keeper[botocore.credentials.ReadOnlyCredentials]

    def load_credentials(self) -> _Provider:
        """The provider is also the credentials that it provides."""
        return self

    def get_frozen_credentials(self) -> botocore.credentials.ReadOnlyCredentials:
        """The credentials for one request."""
        return self.keeper.keys()

    def get_deferred_property(self, _name: str) -> Callable[[], None]:
        """The account id, which EC2's endpoint does not need."""
        return lambda: None


@dataclass(frozen=True, slots=True)
class _Credentials:
    """Credentials that the SDK found (`credentials.Found`)."""

    keys: botocore.credentials.ReadOnlyCredentials
    source: botocore.credentials.Credentials

    def lasts(self, seconds: float) -> bool:
        """See `Found`; credentials of an IAM user never end."""
        ends = isinstance(self.source, botocore.credentials.RefreshableCredentials)
        return not ends or not cast(Any, self.source).refresh_needed(refresh_in=seconds)


class _UnusableKeys(ValueError):
    """Nothing can be signed with these keys."""


def _read(source: botocore.credentials.Credentials) -> _Credentials:
    """The credentials.  Raises ``_UnusableKeys`` if nothing can be signed with the keys: if they were used, the error
    would look like EC2's answer.
    """
    keys = source.get_frozen_credentials()
    for what, key in (("access key", keys.access_key), ("secret", keys.secret_key), ("token", keys.token)):
        if not (key is None and what == "token") and not (isinstance(key, str) and _KEY.fullmatch(key)):
            raise _UnusableKeys(f"their {what} is empty, or has blanks, line breaks or other characters of no key")
    if keys.token is None and str(keys.access_key).startswith(TEMPORARY):
        # EC2's error for these would be the same as for a wrong clock.
        raise _UnusableKeys("they are temporary, and have no token")
    return _Credentials(keys, source)


def _credentials_of_environment() -> _Credentials | None:
    """The credentials in the environment, if they are complete; otherwise None."""
    with suppress(Exception):  # The search that follows says what is wrong.
        found = botocore.credentials.EnvProvider().load()
        return _read(found) if found is not None else None
    return None


def _find_credentials(region: str) -> _Credentials:
    """Look wherever the SDK does, with a new session, since an old one remembers that it found nothing."""
    try:
        found = _session(region, LONGEST).get_credentials()
        if found is not None:
            return _read(found)
    except Exception as error:
        raise NoCredentials(f"no AWS credentials: {told(error)}", _credentials_hint(error)) from error
    raise NoCredentials("no AWS credentials", _credentials_hint())


def _credentials_hint(error: Exception | None = None) -> str:
    """What to do if there are no credentials because of ``error``; None if a source of credentials did not answer."""
    said, role, token = str(error), os.environ.get("AWS_ROLE_ARN"), os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    if os.environ.get("AWS_ACCESS_KEY_ID"):  # With keys in the environment the SDK looks nowhere else.
        return _environments_hint(error)
    if beside := [key for key in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN") if os.environ.get(key)]:
        return f"AWS_ACCESS_KEY_ID is missing beside {' and '.join(beside)} in the environment; or unset these"
    if "still expired" in said:
        return CLOCK_HINT
    # A URL that just could not be reached is quoted, too, but is mostly right.
    sent = isinstance(error, botocore.exceptions.ConnectionError | botocore.exceptions.HTTPClientError)
    doubtful = [(key, value) for key in SOURCES if (value := os.environ.get(key, "")) and not value.isdecimal()]
    if quoted := [f"{key}={value}" for key, value in doubtful if value in said and not sent]:
        return f"is {', '.join(quoted)} in the environment right?"
    if role and token:  # Without both of them STS is not asked.
        if isinstance(error, botocore.exceptions.ClientError):
            return _assuming_hint(role, error.response.get("Error", {}).get("Code") or "")
        if _is_unread(error):
            return f"does something answer in STS's place, which is asked for {role}: a proxy (HTTPS_PROXY)?"
        if sent or error is None:
            return f"to assume {role}, let this node reach STS: by a NAT gateway, or a VPC endpoint for STS"
        return f"can {role} be assumed, and is {token} there?"
    if os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return _agents_hint(said)
    if os.environ.get(NO_IMDS, "").lower() == "true":
        return f"{NO_IMDS}=true keeps the node's role from being found: unset it, or {ROLE_HINT}"
    return ROLE_HINT


def _is_unread(error: Exception | None) -> bool:
    """Whether the SDK failed to read what came in the place of credentials, as a page, or a time that is none."""
    by_dateutil = type(error).__module__.startswith("dateutil.")
    return by_dateutil or isinstance(error, ResponseParserError | LookupError | TypeError)


def _agents_hint(said: str) -> str:
    """What to do if the EKS Pod Identity Agent gives no credentials; ``said`` is the SDK's error."""
    if "non 200 response 429" in said:
        return "EKS throttles the Pod Identity Agent: it is asked again"
    if "non 200 response 4" in said:
        return (
            "the EKS Pod Identity Agent refuses: has this pod's service account an association with a role that trusts"
            " pods.eks.amazonaws.com?"
        )
    if "non 200 response" in said:
        return "what does the log of the EKS Pod Identity Agent on this node say?"
    return "does the EKS Pod Identity Agent run on this node?"


def _environments_hint(error: Exception | None) -> str:
    until = os.environ.get(LIFETIME)
    if until and "still expired" in str(error):
        return f"those in the environment are good until {LIFETIME}={until}: get others, and is the node's clock right?"
    if until and not isinstance(error, _UnusableKeys | botocore.exceptions.PartialCredentialsError):
        return f"correct {LIFETIME}={until} in the environment: a time with its zone, such as 2026-01-31T12:00:00Z"
    return "correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment"


def _assuming_hint(role: str, code: str) -> str:
    """What to do if STS does not let the ``role`` be assumed; ``code`` is its error code."""
    match code:
        case "AccessDenied":
            return f"let the role {role} trust this pod's service account and cluster"
        case "InvalidIdentityToken" | "IDPRejectedClaim":
            return f"is the cluster's OIDC provider in IAM, and its audience sts.amazonaws.com, for {role}?"
        case "ExpiredTokenException":
            return f"{CLOCK_HINT[:-1]}, and does the kubelet renew {os.environ.get('AWS_WEB_IDENTITY_TOKEN_FILE')}?"
        case "InvalidAction" | "MissingAuthenticationToken" if os.environ.get("AWS_ENDPOINT_URL"):
            url = os.environ["AWS_ENDPOINT_URL"]
            return f"AWS_ENDPOINT_URL={url} counts for STS, too: name EC2's endpoint by AWS_ENDPOINT_URL_EC2"
        case "RegionDisabledException":
            return f"activate STS for this Region in the account's settings in IAM, for {role}"
        case "ValidationError":
            return f"correct the ARN {role}, or what is in {os.environ.get('AWS_WEB_IDENTITY_TOKEN_FILE')}"
    return f"STS is asked again for {role}"
