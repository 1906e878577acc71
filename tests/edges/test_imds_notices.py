"""Notices of the node's end that IMDS shows badly: each is no answer by itself, and hides no other one."""

import re
import socket
from collections.abc import Callable

import pytest

from floatingip.core.errors import MetadataError
from floatingip.edges import imds
from floatingip.edges.imds import Imds
from tests.edges.imds_service import (
    LIFECYCLE,
    MAINTENANCE,
    REBALANCE,
    SECOND,
    SPOT,
    Service,
    answer,
    drips,
    hangs,
    hangs_up,
    unreadable,
)

pytest_plugins = ["tests.edges.imds_fixtures"]

ENDS = answer(b'{"action": "terminate", "time": "2026-11-27T08:22:00Z"}')
RECOMMENDED = answer(b'{"noticeTime": "2026-11-27T08:20:00Z"}')


NO_NOTICE = {
    SPOT: (
        b"<html>Welcome</html>",
        b"",
        60_000 * b"[",
        b'{"action": ' + 30_000 * b"[" + 30_000 * b"]" + b"}",
        b"null",
        b'{"action": "", "time": ""}',
        b'{"action": "stop\\nevent=takeover", "time": "2026"}',
        b'{"action": "\\ud800", "time": "2026"}',
        b'{"action": "' + 500 * b"x" + b'", "time": "2026"}',
        b'{"action": NaN, "time": 1e999}',
        b'{"SecretAccessKey": "secret"}',
        b'{"action": false, "time": "2017-09-18T08:22:00Z"}',
        b'["terminate"]',
        b'{"action": "none", "time": "never"}',
    ),
    LIFECYCLE: (b"<html>Welcome</html>", b"", b"Terminated\nInService", b'"Terminated"'),
    MAINTENANCE: (
        b'{"State": "active"}',
        b'[{"State": "active", "NotBefore": "99 Foo 99999 GMT", "Code": "x"}]',
        b'[{"State": "active", "NotBefore": "1 Jan 99999999999 0:0:0 GMT", "Code": "x"}]',
        b"[[[[[[[[]]]]]]]]",
        b"7",
        b"[7]",
        b'[{"State": "active", "NotBefore": "soon", "Code": "x"}]',
        b'[{"State": "active", "NotBefore": 1548061243, "Code": "x"}]',
    ),
    REBALANCE: (b"{}", b'{"noticeTime": 5}', b'{"noticeTime": "n/a"}', 5000 * b"9"),
}


@pytest.mark.parametrize(("path", "said"), [(path, said) for path, values in NO_NOTICE.items() for said in values])
def test_a_notice_that_is_none_is_no_notice_and_hides_none(
    service: Service, asker: Imds, path: str, said: bytes
) -> None:
    """Neither that the end is near, nor that it is not."""
    service.bad = {path: answer(said)}
    with pytest.raises(MetadataError, match=f"^{re.escape(unreadable(path))}$"):
        asker.notice()
    other, spoken, kind = (SPOT, ENDS, "spot") if path == REBALANCE else (REBALANCE, RECOMMENDED, "rebalance")
    service.bad[other] = spoken
    found = asker.notice()
    assert found
    assert found.kind == kind


@pytest.mark.parametrize("said", [hangs_up, answer(b"", 503), answer(b"", 302)])
def test_a_notice_that_cannot_be_had_hides_none(service: Service, asker: Imds, said: bytes) -> None:
    """Each kind is asked for by itself."""
    service.bad = {SPOT: said, LIFECYCLE: answer(b"Terminated")}
    found = asker.notice()
    assert found
    assert found.kind == "asg"


@pytest.mark.parametrize("never_ends", [hangs, drips])
def test_a_notice_that_never_comes_hides_none(
    service: Service, asker: Imds, never_ends: Callable[[socket.socket], None]
) -> None:
    """The next kind is asked for once this one is given up."""
    asker.addresses_of(SECOND)
    with pytest.MonkeyPatch.context() as patch:

        def speak(connection: socket.socket) -> None:
            patch.undo()  # only this answer is given up soon
            never_ends(connection)

        patch.setattr(imds, "POLL_TIMEOUT", 0.3)
        service.bad = {SPOT: speak, LIFECYCLE: answer(b"Terminated")}
        found = asker.notice()
    assert found
    assert found.kind == "asg"


@pytest.mark.parametrize(
    "state", [b"InService", b"Standby", b"Warmed:Stopped", b"Detached", b"Hibernating", b"NewWord"]
)
def test_an_unknown_state_is_no_end(service: Service, asker: Imds, state: bytes) -> None:
    """Nor an error: Auto Scaling may learn new words."""
    service.bad = {LIFECYCLE: answer(state)}
    assert asker.notice() is None


def test_a_maintenance_that_cannot_be_read_hides_no_other_one(service: Service, asker: Imds) -> None:
    """The first one of the list is nonsense, the second one is due."""
    due = b'{"State": "active", "NotBefore": "21 Jan 2019 09:00:43 GMT", "Code": "system-reboot"}'
    service.bad = {MAINTENANCE: answer(b'[{"State": 7}, ' + due + b"]")}
    found = asker.notice()
    assert found
    assert found.detail == "system-reboot at 21 Jan 2019 09:00:43 GMT"
