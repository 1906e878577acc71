"""find-available-ips.py where something is wrong: one clear line, and nothing on stdout."""

from __future__ import annotations

import pytest
from werkzeug.wrappers import Response

from tests.available_ips_runs import ASKED, Run, serving

pytest_plugins = ["tests.available_ips_fixtures"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required"),
        (["IPV5", "10.0.0.0/28"], "IPV5"),
        (["IPV4"], "CIDR"),
        (["IPV4", "10.0.0.0/33"], "not a CIDR"),
        (["IPV4", "10.0.0.0"], "not a CIDR"),
        (["IPV4", "nonsense/24"], "not a CIDR"),
        (["IPV4", "10.0.0.5/28"], "the CIDR is 10.0.0.0/28"),
        (["IPV6", "2001:db8::5/64"], "the CIDR is 2001:db8::/64"),
        (["IPV6", "10.0.0.0/28"], "IPv4 CIDR"),
        (["IPV4", "2001:db8::/64"], "IPv6 CIDR"),
        ([*ASKED, "--limit", "0"], "--limit"),
        ([*ASKED, "--limit", "few"], "--limit"),
        ([*ASKED, "--vpc", "vpc-1", "more"], "more"),
        ([*ASKED, "--region", "no region"], "no region"),
        ([*ASKED, "--region", "us-west-2a"], "'us-west-2a' is no Region"),
        ([*ASKED, "--vpc-id", "vpc-*"], "'vpc-*' is no id"),
        ([*ASKED, "--subnet-id", "subnet-?"], "'subnet-?' is no id"),
    ],
)
def test_a_bad_argument_is_one_clear_line(ask: Run, arguments: list[str], said: str) -> None:
    """Exit code 2, and the line names what is wrong."""
    assert said in ask.fails(*arguments)


@pytest.mark.parametrize(
    ("missing", "said"),
    [("AWS_DEFAULT_REGION", "give --region"), ("AWS_ACCESS_KEY_ID", "`aws sts get-caller-identity`")],
    ids=["Region", "credentials"],
)
def test_what_is_neither_given_nor_configured_is_one_clear_line(
    ask: Run, monkeypatch: pytest.MonkeyPatch, missing: str, said: str
) -> None:
    """And nothing is sent."""
    monkeypatch.delenv(missing)
    assert said in ask.fails(*ASKED)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}, "/nonexist"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://elsewhere/"}, "elsewhere"),
        ({"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret\n"}, "a line's end within the credentials"),
    ],
)
def test_credentials_that_cannot_be_got_are_no_fault_of_ec2s(
    ask: Run, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], said: str
) -> None:
    """Nor of a proxy's; and no secret is told."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    told = ask.fails(*ASKED)
    assert told.startswith("find-available-ips.py: AWS configuration: ")
    assert said in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "said"),
    [
        (403, "UnauthorizedOperation", 2, "ec2:DescribeSubnets"),
        (401, "AuthFailure", 2, "AuthFailure"),
        (503, "RequestLimitExceeded", 1, "RequestLimitExceeded"),
        (500, "InternalError", 1, "InternalError"),
    ],
)
def test_an_error_of_ec2_is_one_clear_line(
    ask: Run, monkeypatch: pytest.MonkeyPatch, status: int, code: str, exit_code: int, said: str
) -> None:
    """Exit code 2 where only the user can change it, 1 where EC2 failed; a missing permission is named."""
    error = f"<Error><Code>{code}</Code><Message>Said\nin two lines.</Message></Error>"
    body = f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"
    with serving(Response(body, status, content_type="text/xml")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", url)
        assert said in ask.fails(*ASKED, code=exit_code)


ENDLESS = "<DescribeSubnetsResponse><subnetSet/><nextToken>again</nextToken></DescribeSubnetsResponse>"


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        pytest.param("<html>It works!", "text/html", "", id="a proxy's or a captive portal's page"),
        pytest.param("", "text/html", "", id="an empty page"),
        pytest.param(ENDLESS, "text/xml", "pagination", id="an answer without an end"),
    ],
)
def test_an_endpoint_that_is_not_ec2_is_one_clear_line(
    ask: Run, monkeypatch: pytest.MonkeyPatch, body: str, kind: str, said: str
) -> None:
    """EC2's fault, and none of the configuration."""
    with serving(Response(body, content_type=kind)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", url)
        assert said in ask.fails(*ASKED, code=1)


def test_an_unreachable_endpoint_is_one_clear_line(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there any more."""
    with serving(Response("")) as url:
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", url)
    assert f'{url}/" (Connection refused)' in ask.fails(*ASKED, code=1)


def test_certificates_that_are_not_there_are_named(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK says that a file is missing, and not which."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent/bundle")
    with serving(Response("")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", url.replace("http:", "https:"))
        assert "; is AWS_CA_BUNDLE=/nonexistent/bundle right?" in ask.fails(*ASKED, code=1)


def test_an_endpoint_that_is_no_url_is_one_clear_line(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration mistake, found before anything is sent."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "not a url")
    ask.fails(*ASKED)
