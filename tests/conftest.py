"""For all tests."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from floatingip.edges.kernel import nft


@pytest.fixture(scope="session", autouse=True)
def nft_without_fork() -> Iterator[None]:
    """Here nft starts by vfork.  A fork copies the page tables of this process, which has all tests in its memory: that
    would take longer than all that nft does.  The agents of a lab, which are processes of their own, do fork.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nft, "_by_fork", nullcontext)
        yield
