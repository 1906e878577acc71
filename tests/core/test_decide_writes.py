"""R8, R9, R11 and R13: one write at a time, on what EC2 has said since the last one, and what becomes of it."""

from __future__ import annotations

import pytest

from floatingip.core.decision.decision import Reason
from floatingip.core.timing import REPEAT_AFTER
from floatingip.core.writes import Attach, Detach, Write
from tests.core.deciders import Observer
from tests.core.scenes import replay, scenes

test_one_write_after_the_other = scenes(
    f"""
    after a write EC2 is asked at once, whatever the state would otherwise allow
        0.0  ec2:free
        0.5  wrote_at=0.4            -> ; look 0.5

    also while upkeep goes on, for which no move waits
        fallen
        10.1  ec2:a1@i-a probe:L upkeep        -> detach:a1
        10.2                                   -> ; look 10.2

    no second write is made while one is under way, not even another one
        0.0  ec2:free writing=True   -> no write
        0.1  writing=False           -> attach

    the same write is not repeated within a second: its effect may only not be visible yet
        fallen
        10.1                         ec2:a1@i-a probe:L  -> detach:a1
        {10.1 + REPEAT_AFTER - 0.01} ec2:a1@i-a probe:L  -> no write
        {10.1 + REPEAT_AFTER}        ec2:a1@i-a probe:L  -> detach:a1

    no write is made before its backoff ends: EC2 throttled or denied the last one
        0.0  ec2:free retry:attach@5 -> no write
        4.9  ec2:free                -> no write
        5.0  ec2:free                -> attach

    a write that was refused puts off no other one: IAM denies the tags, for example, and the address is claimed
        0.0  ec2:free retry:tag@60   -> attach

    another write need not wait: the attach follows the detach as soon as EC2 shows the ENI free
        fallen
        10.1  ec2:a1@i-a probe:L
        10.2  ec2:free               -> attach
    """
)


def test_no_write_is_made_on_an_answer_older_than_the_last_write() -> None:
    """It cannot show what the write did."""
    observer = Observer().fall()
    replay("10.1 ec2:a1@i-a probe:L -> detach:a1", observer)
    decision = observer.see(10.3, owner=observer._owner(10.05, "free", "", "cluster"), wrote_at=10.2)
    assert decision.write is None
    assert decision.look_at == 10.3


# R9 and the pace of questions.


test_while_ec2_is_silent_and_when_it_is_asked = scenes(
    """
    an outage of EC2 leaves a healthy holder alone: the standby goes on watching
        0.0         ec2:a1@i-a word:sound probe:AA
        1..3999/60  probe:A     -> standby ANSWERS R10

    a healthy holder goes on carrying through an outage of EC2  [i-a]
        0.0         ec2:a1@i-a link:sound
        1..3999/60              -> holder HELD_HERE R10; carries ALL

    a holder that restarts while EC2 is down still carries what it finds, and all of it once EC2 was asked in vain
        0.0  link:sound                     -> ; carries AS_FOUND
        1.0  link:sound shown_by_imds=True  -> ; carries ALL

    in peace the holder asks EC2 once a minute  [i-a]
        0.0  ec2:a1@i-a link:sound           -> ; look 60.0

    in peace a standby asks EC2 once a minute
        0.0  ec2:a1@i-a word:sound probe:AA
        2.5  ec2:a1@i-a probe:AA
        3.0  probe:A                         -> ; look 62.5

    in doubt EC2 is asked at once, and twice a second after the first answer: none is older than a second
        0.0   ec2:a1@i-a word:sound probe:AA
        2.5   ec2:a1@i-a probe:A
        10.0  probe:L                             -> ; look 10.0
        10.1  ec2:a1@i-a/attached/running probe:L -> ; look 10.6
    """
)


test_between_two_calls = scenes(
    """
    a detach that somebody else began is finished: whoever sees the ENI free claims it
        0.0   ec2:a1@i-a word:sound probe:AA  -> standby ANSWERS R10
        10.0  ec2:a1@i-a/detaching            -> standby DETACHING R11
        12.5  ec2:free                        -> claiming FREE R1 attach

    an observer that restarts between detach and attach goes on: it remembers nothing, and need not
        0.0  ec2:a1@i-a/detaching             -> standby DETACHING R11
        2.0  ec2:free                         -> claiming FREE R1 attach

    an observer is obliged from its detach until it carries the address: ending in between would leave it to nobody
        fallen
        10.1  ec2:a1@i-a probe:L              -> detach:a1; obliged yes
        10.2  writing=True                    -> ; obliged yes
        10.4  ec2:a1@i-a/detaching writing=False  -> ; obliged yes
        12.9  ec2:free                        -> ; obliged yes
        13.0  writing=True                    -> ; obliged yes
        13.2  ec2:a2@i-b/attaching link:none writing=False  -> ATTACHING_HERE; obliged yes
        15.0  ec2:a2@i-b link:none            -> ATTACHING_HERE; obliged yes
        15.5  link:sound                      -> HELD_HERE; obliged no

    it is from the moment at which it claims what nobody has
        0.0   ec2:free                        -> attach; obliged yes
        1.5   writing=True                    -> ; obliged yes
        1.6   writing=False                   -> ; obliged yes
        1.7   ec2:a2@i-c/attaching            -> ; obliged no

    it is while EC2 takes its time for the detach: no answer is fresh any more, or the address answers once more
        fallen
        10.1  ec2:a1@i-a probe:L              -> detach:a1; obliged yes
        11.5  writing=True probe:L            -> STALE; obliged yes
        12.0  writing=True probe:A            -> ; obliged yes
        12.4  ec2:a1@i-a probe:A writing=False  -> ; obliged no

    an observer that only watches is not obliged: neither in doubt, nor by the detach of another, nor as holder
        0.0  ec2:a1@i-a word:sound probe:AA   -> ; obliged no
        1.0  probe:L                          -> ; obliged no
        2.0  ec2:a1@i-a/detaching             -> ; obliged no
        3.0  ec2:a2@i-b link:sound            -> ; obliged no

    an observer that lost the race is not obliged: the address is not stranded, another one has it
        fallen
        10.1  ec2:a1@i-a probe:L
        10.3  ec2:a1@i-a/detaching
        13.0  ec2:a2@i-c/attaching            -> ; obliged no

    who fenced claims before those of higher rank: no wait between detach and attach  [i-z]
        fallen
        10.1  ec2:a1@i-a probe:L peer:i-c
        10.3  ec2:a1@i-a/detaching peer:i-c
        12.9  ec2:free peer:i-c               -> takeover FREE_AFTER_FENCING R3 attach
    """
)


@pytest.mark.parametrize(("word", "seconds"), [("word:silent", 5.0), ("word:sound", 20.0), ("word:unasked", 20.0)])
def test_a_detach_that_hangs_is_forced(word: str, seconds: float) -> None:
    """After force_after where the word is silent, four times as long otherwise; by whoever sees it."""
    replay(
        f"""
        0.0              ec2:a1@i-a/detaching {word}
        {seconds - 0.1}  ec2:a1@i-a/detaching         -> standby DETACHING R11
        {seconds}        ec2:a1@i-a/detaching         -> takeover DETACHING_TOO_LONG R13 force:a1
        """
    )


test_a_detach_that_takes_long = scenes(
    """
    the holder itself forces its own hanging detach after the longer time: it is alive, so it is heard
        0.0   ec2:a1@i-b/detaching link:sound
        19.9  ec2:a1@i-b/detaching               -> no write
        20.0  ec2:a1@i-b/detaching               -> force:a1

    a normal detach is not forced: it takes 2 to 3 s, by a takeover from a silent holder
        fallen
        10.1  ec2:a1@i-a probe:L
        10.3  ec2:a1@i-a/detaching word:silent   -> no write
        11.0  ec2:a1@i-a/detaching word:silent   -> no write
        12.0  ec2:a1@i-a/detaching word:silent   -> no write
        13.2  ec2:a1@i-a/detaching word:silent   -> no write

    the time of one detach is not added to the next: another attachment, another clock
        0.0   ec2:a1@i-a/detaching word:silent
        4.0   ec2:a2@i-c word:silent
        6.0   ec2:a2@i-c/detaching word:silent
        10.0  ec2:a2@i-c/detaching               -> no write
        11.0  ec2:a2@i-c/detaching               -> force:a2

    who forced its own detach stays obliged and claims first: it is still the same takeover  [i-z]
        fallen
        10.1  ec2:a1@i-a probe:L
        10.3  ec2:a1@i-a/detaching word:silent peer:i-c
        15.4  ec2:a1@i-a/detaching peer:i-c      -> force:a1; obliged yes
        16.0  ec2:free peer:i-c                  -> takeover FREE_AFTER_FENCING R3 attach
    """
)


RETRY_AT = 13.0


@pytest.mark.parametrize(("began", "refused"), [("fallen", Detach), ("free", Attach)], ids=["taking", "claiming"])
@pytest.mark.parametrize("is_that_kind", [True, False], ids=["that is refused", "while another kind is refused"])
def test_an_answer_before_a_write(began: str, refused: type[Write], *, is_that_kind: bool) -> None:
    """Not before a refused write may be made again; at once where EC2 has refused writes of another kind."""
    observer = Observer()
    if began == "fallen":
        observer.fall()
        observer.see(10.1, "probe:L", retry_at={Detach: RETRY_AT})
    else:
        observer.see(10.1, "ec2:free", retry_at={Attach: RETRY_AT})
    other = Attach if refused is Detach else Detach
    observer.see(11.0, "ec2:a1@i-a probe:L" if began == "fallen" else "ec2:free")
    decision = observer.see(12.2, "probe:L", retry_at={refused if is_that_kind else other: RETRY_AT})
    assert decision.reason is Reason.STALE
    assert decision.look_at == (RETRY_AT if is_that_kind else 12.2)
