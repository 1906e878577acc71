"""EC2's model, which takes most of the time of a start."""

import gc
from collections.abc import Iterator

import pytest

from floatingip.edges.ec2 import sdk
from tests.edges.ec2_server import becoming


@pytest.fixture(name="collections")
def _collections() -> Iterator[list[str]]:
    """Each time that the garbage collector begins to run, or ends."""
    seen: list[str] = []

    def note(phase: str, _info: dict[str, int]) -> None:
        seen.append(phase)

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def test_it_is_read_without_a_look_for_garbage_which_goes_on_afterwards(
    collections: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred thousand objects none goes."""
    becoming(monkeypatch)(AWS_ENDPOINT_URL_EC2="http://127.0.0.1:1", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    sdk._loader.cache_clear()
    collections.clear()
    sdk.client("us-west-2")
    assert len(collections) < 20
    assert gc.isenabled()


def test_two_threads_that_read_it_at_a_time_leave_no_process_without_a_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that finds the collector off may be the last one to leave."""
    becoming(monkeypatch)(AWS_ENDPOINT_URL_EC2="http://127.0.0.1:1", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    gc.disable()
    try:
        sdk.client("us-west-2")
        assert gc.isenabled()
    finally:
        gc.enable()
