"""A node that is short of files or memory for a while: what is in its kernel is not known then, and serves on."""

import errno
import os

import pytest

from floatingip.core.plumbing import PlumbingReport, PlumbingState
from floatingip.edges.kernel import netlink
from tests.lab.plumbed import SOUND, Node


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM], ids=errno.errorcode.get)
def test_a_holder_that_cannot_ask_its_kernel_is_not_unsound(
    node: Node, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one's leak of files would move the address otherwise, to a node that may have the same."""
    node.plumb()
    assert node.plumb() == PlumbingReport(SOUND)

    def refuse(_protocol: int) -> None:
        raise OSError(code, os.strerror(code))

    node.host.close()
    with monkeypatch.context() as short:
        short.setattr(netlink, "_open", refuse)
        report = node.plumb()
    assert (report.state, report.problem) == (PlumbingState.UNCERTAIN, f"link: {os.strerror(code)}")
    assert node.plumb() == PlumbingReport(SOUND)
