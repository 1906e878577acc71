"""Namespaces of the lab come and go as those of `ip netns`."""

import subprocess
from collections.abc import Iterator

import pytest

from lab.network.netns import CommandFailed, Namespace
from tests.waiting import until


@pytest.fixture(name="namespace")
def _namespace(in_sandbox: None) -> Iterator[Namespace]:
    namespace = Namespace("one")
    namespace.create()
    yield namespace
    namespace.delete()


def test_its_loopback_is_up(namespace: Namespace) -> None:
    """So that what listens there can be asked from there."""
    (loopback,) = namespace.show("link show")
    assert "UP" in loopback["flags"]


def test_a_name_that_is_taken_is_refused(namespace: Namespace) -> None:
    """And whoever has it keeps it."""
    namespace.ip("link add kept type veth peer name other")
    with pytest.raises(CommandFailed, match="one is there already"):
        Namespace("one").create()
    assert len(namespace.show("link show")) == 3


def test_it_may_be_removed_twice(namespace: Namespace) -> None:
    """As a power cut and the end of the lab do."""
    namespace.delete()
    namespace.delete()
    namespace.create()


def test_what_was_not_made_to_the_end_may_be_removed(in_sandbox: None) -> None:
    """Whoever makes it may be interrupted."""
    half = Namespace("half")
    half.path.touch()
    half.delete()
    half.create()
    half.delete()


def test_nothing_is_left_of_it_where_other_mounts_are_seen(near: Namespace, namespace: Namespace) -> None:
    """A pod that began before has the names among its own mounts, which would keep the namespace, and its links."""
    near.ip("link add there type veth peer name here netns one")
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "slave", "sh", "-c", "echo; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as pod:
        assert pod.stdout is not None
        pod.stdout.readline()
        namespace.delete()
        until(lambda: [link["ifname"] for link in near.show("link show")] == ["lo"])
