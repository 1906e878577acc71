"""What is told where somebody takes away whatever this node puts into its kernel."""

from dataclasses import replace

import pytest

from floatingip.core import timing
from floatingip.core.plumbing import PlumbingReport, PlumbingState
from tests.core.nodes import ME, SOUND, Node, held_by, now


def told_of(reports: list[PlumbingReport], every: float) -> tuple[Node, list[str]]:
    """The log of a holder in whose kernel these are found, one after the other, and then nothing more."""
    made, at = held_by(ME, SOUND), now()
    before = len(made.told.log)
    for report in reports:
        at += every
        made.address.reconciled(report, at)
    for later in (timing.KERNEL_CALM / 2, timing.KERNEL_CALM + 1):
        made.address.reconciled(SOUND, at + later)
    return made, made.told.log[before:].splitlines()


@pytest.mark.parametrize("what", [("marks",), ("address", "route")])
def test_what_is_taken_away_again_and_again_is_warned_of_once(what: tuple[str, ...]) -> None:
    """As by a firewall that flushes all chains: sound whenever it is looked at, and the log full of it."""
    _, log = told_of([replace(SOUND, repaired=what), SOUND] * 100, 0.05)
    assert sum("event=plumbed" in line for line in log) == timing.REPAIRS_TOLD
    warnings = [line for line in log if "level=warning event=undone" in line]
    assert [part in line for part, line in zip(what, warnings, strict=True)] == [True] * len(what)
    assert "event=undone" in log[-1]
    assert "nobody takes it away any more" in log[-1]


def test_what_others_do_to_a_node_that_carries_the_address_is_noted() -> None:
    """By /readyz, which is ok: what somebody takes away, as long as he does, and what they have in the way."""
    made, _ = told_of([replace(SOUND, repaired=("marks",)), SOUND] * 100, 0.05)
    assert made.address.remark() == ""
    for _ in range(timing.REPAIRS_TOLD + 1):
        made.address.reconciled(replace(SOUND, repaired=("marks",)), now() + 1000.0)
    assert made.address.remark().startswith("somebody on this node takes away marks again and again")
    made.address.reconciled(replace(SOUND, problem="rule: of others; move it"), now() + 1000.0)
    assert made.address.remark() == "rule: of others; move it"


def test_what_is_mended_now_and_then_is_told_each_time() -> None:
    """Once an hour, by somebody's job, is no fight."""
    _, log = told_of([replace(SOUND, repaired=("rule",)), SOUND] * 20, 1800.0)
    assert sum("event=plumbed" in line for line in log) == 20
    assert not any("event=undone" in line for line in log)


def test_a_fault_that_comes_and_goes_is_told_once_until_it_was_away_for_a_while() -> None:
    """Each time it comes back it would be an error of its own, several a second."""
    fault = replace(SOUND, state=PlumbingState.UNSOUND, problem="address: still missing")
    made, log = told_of([fault, SOUND] * 100, 0.05)
    assert sum("event=plumbing" in line for line in log) == 1
    made.address.reconciled(fault, now() + 1000.0)
    assert made.told.log.count("event=plumbing") == 2
