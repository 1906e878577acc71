"""Evidence has a time: what was silent before a partition ended, or spoke before one began, tells nothing of later."""

import pytest

from floatingip.core import timing
from floatingip.core.model import Carry
from tests.sim.fleet import INSTANT, Fleet
from tests.sim.test_partitions import part_until_one_asks_the_other


@pytest.mark.parametrize("carry", Carry)
def test_a_holder_that_was_not_asked_since_the_others_answer_again_is_not_called_silent(
    carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All workers are parted for three seconds, and the address reaches nobody meanwhile, nor after that.  It ends as
    one standby asks the other: the holder's observer would answer its next question, and has all of `patience`.
    """
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    holder, *standbys = fleet.observers()
    holder.worker.is_mute = True
    is_parted = part_until_one_asks_the_other(fleet, standbys, monkeypatch)
    fleet.holds_for(lambda: fleet.stays() == [holder.worker.name], fleet.settings.patience - 2.0, "the address stays")
    assert not is_parted()


@pytest.mark.parametrize("carry", Carry)
def test_whoever_has_fallen_silent_is_no_witness_any_more(carry: Carry) -> None:
    """A worker is cut off from all but EC2, from the holder first: another observer tells a moment later that it sees
    the address answer, and the API server answers once more.  Most likely it is this worker that is cut off.
    """
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    holder, standby, other = (observer.worker for observer in fleet.observers())
    fleet.cut = {frozenset({standby.name, holder.name})}
    fleet.run(fleet.now + 0.7)
    fleet.cut |= {frozenset({standby.name, other.name})}
    standby.pod = None
    fleet.holds_for(lambda: len(fleet.stays()) == 1, timing.CUT_OFF_FOR - 2.0, "the address stays")


@pytest.mark.parametrize("carry", Carry)
def test_of_two_workers_one_that_the_api_server_answers_no_more_may_be_cut_off_itself(carry: Carry) -> None:
    """It did answer after the first lost probe; EC2 answers when that is four seconds ago."""
    fleet = Fleet(1, workers=2, profile=INSTANT, carry=carry)
    holder, standby = (observer.worker for observer in fleet.observers())
    fleet.cut = {frozenset({standby.name, holder.name})}
    standby.cloud.reachable = False
    fleet.run(fleet.now + 0.7)
    standby.pod = None
    fleet.run(fleet.now + 3.5)
    standby.cloud.reachable = True
    fleet.holds_for(lambda: len(fleet.stays()) == 1, timing.CUT_OFF_FOR - 5.0, "the address stays")
