"""A node's standing ENI: there is one, attached and as it should be, and what is of no use any more is given back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from floatingip.agent.standing import Standing, StandingMemory, StandingView, keep
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni
from floatingip.core.timing import FORGOTTEN_AFTER as FORGOTTEN
from floatingip.core.timing import STANDING_LOOK_IN_PEACE as PEACE
from floatingip.core.timing import STANDING_LOOK_SOON as SOON
from floatingip.core.timing import STANDING_REPEAT_AFTER as REPEAT
from floatingip.core.timing import STANDING_UNSHOWN_FOR as UNSHOWN
from floatingip.core.timing import STANDING_UNUSED_FOR as UNUSED
from floatingip.core.writes import CheckSource, Create, KeepAfterTermination, SetGroups, Unassign, Write, Written
from tests.core.deciders import instance
from tests.core.movers import PRIVATE, standing
from tests.core.scenes import replay, scenes

ME, MINE = "i-b", standing("i-b")


def attached(eni: Eni, attachment_id: str, instance_id: str) -> Eni:
    """The same ENI, attached in another way."""
    return replace(eni, attachment=Attachment(attachment_id, instance_id, 2, AttachmentStatus.ATTACHED))


ENIS = {
    "mine": MINE,
    "second": attached(replace(MINE, id="eni-0"), "at-0", ME),
    "broken": replace(MINE, source_check=False),
    "elsewhere": attached(MINE, "at-9", "i-x"),
    "other's": standing("i-a"),
    "orphan": standing("i-a", status=None),
    "foreign": attached(standing("i-c"), "at-9", ME),
}
"""Standing ENIs as EC2 may show them: two of this node, a broken one, and one that is attached to i-x; that of i-a,
attached or free; and that of i-c, attached here."""


@dataclass
class Keeper:
    """The deciding part of the node i-b, to which EC2 accepts every write at once."""

    memory: StandingMemory = field(default_factory=StandingMemory)
    written: Written = field(default_factory=Written)

    def see(self, now: float, words: str = "", **known: Any) -> Standing:
        """Decide on what EC2 shows when it is asked now: the ENIs of these words, and no others.

        - ``NAME``, ``NAME/STATUS``, ``NAME/free``: one of `ENIS`, with this status of its attachment;
        - ``used``: mine has a floating address; ``spare``: it has an address that nothing needs;
        - ``refused``: EC2 did not accept the last write;
        - ``i-a:STATE``: EC2 describes that instance; otherwise it describes none.
        """
        told = words.split()
        view = StandingView(
            now=now,
            me=ME,
            asked_at=now,
            standing=tuple(_shown(word) for word in told if word.partition("/")[0] in ENIS),
            instances={name: instance(name, state) for name, _, state in (w.partition(":") for w in told) if state},
            in_use=frozenset({MINE.id} if "used" in told else ()),
            spares=(Unassign(MINE.id, PRIVATE),) if "spare" in told else (),
            written=replace(self.written, accepted=None) if "refused" in told else self.written,
        )
        self.memory, decided = keep(self.memory, replace(view, **known))
        if decided.write is not None:
            self.written = Written(ended_at=now, accepted=decided.write)
        return decided


def _shown(word: str) -> Eni:
    name, _, status = word.partition("/")
    eni = ENIS[name]
    if not status or eni.attachment is None:
        return eni
    bound = None if status == "free" else replace(eni.attachment, status=AttachmentStatus(status))
    return replace(eni, attachment=bound)


def test_nothing_is_done_before_ec2_has_answered() -> None:
    """It may be there since the node's last start, so EC2 is asked at once."""
    decided = Keeper().see(0.0, asked_at=float("-inf"), standing=None)
    assert (decided.write, decided.eni) == (None, None)
    assert decided.look_at <= 0.0
    assert decided.problem == "EC2 has not answered yet"


test_a_node_has_one_standing_eni = scenes(
    f"""
    it is created, attached and there: each step when EC2 shows the last one; until then it says what is missing
        0.0                  -> create; has none; says its standing ENI; look {SOON}
        0.5  mine/free       -> attach; has none; says its standing ENI
        1.0  mine/attaching  -> no write; has none; says its standing ENI; look {1.0 + SOON}
        4.0  mine            -> no write; has eni-b; bound eni-b; lacks nothing; look {4.0 + PEACE}

    where the other way to carry is in use the addresses say when to look: EC2 has answered, and is not asked at once
        1.5  standing=None asked_at=1.0  -> ; look {1.0 + PEACE}

    one that is not attached is no standing ENI yet: no address can be led there
        0.0  mine/attaching  -> ; has none; says standing ENI eni-b is being
        0.1  mine/detaching  -> ; has none; says standing ENI eni-b is being
        0.2  mine/detached   -> ; has none; says standing ENI eni-b is being

    a node knows its own by the tag, whatever else is attached to it
        0.0  foreign         -> create

    it knows it among others
        0.0  mine other's    -> ; has eni-b

    after a restart it knows it, too, so there is never a second one
        0.0  mine/free       -> attach

    of two the attached one counts, and the free one is given back: a Describe lagged for very long
        0.0        second/free mine  -> no write; has eni-b; bound eni-b; lacks nothing; look {PEACE}
        {UNUSED}   second/free mine  -> delete:eni-0

    a second one that is attached is detached before: an operator took its tags, another was made, and he gave them back
        0.0                  mine
        1.0                  second mine       -> ; has eni-b
        {UNUSED + 1.0}       second mine       -> detach:at-0
        {UNUSED + 2.0}       second/free mine  -> no write
        {2 * UNUSED + 2.0}   second/free mine  -> delete:eni-0

    that detach is no try in vain of the other one: its device is waited for no longer than the first time
        0.0             mine
        1.0             second mine
        {UNUSED + 1.0}  second mine                    -> detach:at-0
        {UNUSED + 2.0}  second/free mine device=False  -> no write
        {UNUSED + 24.0} second/free mine device=False  -> detach:at-b

    of two that are attached the one with a floating address counts, whichever it was before
        0.0             second
        1.0             second mine used  -> ; has eni-b
        {UNUSED + 1.0}  second mine used  -> detach:at-0

    one that is attached elsewhere is left there: somebody did that by hand
        0.0  elsewhere  -> no write; has none; says its standing ENI eni-b is attached to i-x; says detach it there
    """,
    Keeper,
)


test_generations_of_the_token = scenes(
    f"""
    the same generation is created again while it may only not be shown yet, but not with every look
        0.0             -> create
        {REPEAT - 0.1}  -> no write
        {REPEAT}        -> create
        {FORGOTTEN}     -> create

    one that was deleted meanwhile is created by the next generation: the old token's answer would be the deleted one
        0.0
        {FORGOTTEN + 0.1}             -> create:1
        {2 * FORGOTTEN}               -> create:1
        {2 * FORGOTTEN + 2 * REPEAT}  -> create:2

    a creation that failed burns no token: EC2 is down for an hour, and nothing was made by the first one
        0..3540/60  refused           -> create

    one that was shown starts the wait anew when it is deleted: its own token is given its time first
        0.0
        5.0                        mine
        3600.0                     device=False  -> create
        {3600.0 + FORGOTTEN + 0.1} device=False  -> create:1

    one whose device is here is not made anew because EC2 does not show it: a second one would take its place
        0.0                 mine
        3600.0                           -> no write; bound eni-b; says eni-b, whose device is here
        {3600.0 + UNSHOWN}               -> create:1

    nor is one whose device may be here: but it may be a device that stayed behind
        0.0                 mine
        3600.0              device=None  -> no write; bound eni-b; says EC2 does not show its standing ENI eni-b
        {3600.0 + UNSHOWN}  device=None  -> create:1
    """,
    Keeper,
)


@pytest.mark.parametrize(
    "known",
    [{"written": Written(under_way=True)}, {"written": Written(ended_at=0.0)}, {"retry_at": {Create: 0.1}}],
    ids=["under way", "just ended", "refused"],
)
def test_nothing_is_written_on_top_of_another_write_or_on_an_answer_that_is_older(known: dict[str, Any]) -> None:
    """Nor while EC2 is given time after a failure (R8, R9)."""
    decided = Keeper().see(0.0, **known)
    assert (decided.write, decided.problem) == (None, "its standing ENI is being created")


@pytest.mark.parametrize("barrier", ["this node is in zone us-west-2-lax-1b", "i-b has no free ENI slot"])
@pytest.mark.parametrize("shown", ["", "mine/free"], ids=["none yet", "a free one"])
def test_a_node_that_can_have_none_says_why_and_asks_no_more_than_in_peace(barrier: str, shown: str) -> None:
    """It writes nothing, and there is nothing to wait for that EC2 would show soon."""
    decided = Keeper().see(0.0, shown, barrier=barrier)
    assert (decided.write, decided.eni, decided.problem) == (None, None, barrier)
    assert decided.look_at >= 10.0


@pytest.mark.parametrize(
    ("changes", "write"),
    [
        ({"delete_on_termination": True}, KeepAfterTermination("eni-b", "at-b")),
        ({"security_groups": ("sg-9",)}, SetGroups("eni-b", ("sg-2", "sg-1"))),
        ({"source_check": False}, CheckSource("eni-b")),
        ({}, None),
    ],
    ids=["survival", "security groups", "source check", "nothing"],
)
def test_the_standing_eni_is_kept_as_it_should_be(changes: Mapping[str, object], write: Write | None) -> None:
    """It outlives its instance (A4), and has the groups of the settings; meanwhile it does its work."""
    shown = replace(MINE, **{"security_groups": ("sg-1", "sg-2"), **changes})  # type: ignore[arg-type]  # fields of Eni
    decided = Keeper().see(0.0, standing=(shown,), groups=("sg-2", "sg-1"))
    assert (decided.write, decided.eni, decided.problem) == (write, shown, "")


test_a_standing_eni_of_no_use_is_detached_and_attached_anew = scenes(
    """
    one without its device is of no use yet: whoever looks at it says so
        0.0  mine device=False  -> ; has eni-b; says the device of its standing ENI eni-b is not there yet
        0.1  mine device=None   -> ; has eni-b; says the device of its standing ENI eni-b is here is not known

    a slow device takes 20 s; each further try is given twice as long, until one comes
        0.0..20.0/10    mine device=False       -> no write
        21.5            mine device=False       -> no write
        22.0            mine device=False       -> detach:at-b
        23.0            mine/free device=False  -> attach
        24.0..67.5/0.5  mine device=False       -> no write
        68.0            mine device=False       -> detach:at-b
        70.0            mine
        100.0           mine device=False
        122.0           mine device=False       -> detach:at-b

    attaching takes seconds, at worst a minute; each further try is given twice as long, until one succeeds
        0.0..59.5/0.5    mine/attaching       -> no write
        60.0             mine/attaching       -> detach:at-b
        63.0             mine/free            -> attach
        64.0..183.5/0.5  mine/attaching       -> no write
        184.0            mine/attaching       -> detach:at-b
        190.0            mine
        200.0            mine device=False
        222.0            mine device=False    -> detach:at-b

    one with a floating address stays though EC2 goes on attaching it: another node is to take the address over first
        0..300/100  mine/attaching used       -> no write

    so does one that carries one: what EC2 shows of an ENI whose device is here may be of before
        0..300/100  mine/attaching holds=True -> no write

    one with a floating address is not detached for want of its device either
        0..3600/30  mine used device=False    -> no write

    nor is one for a device that nobody has looked for
        0..3600/30  mine device=None          -> no write

    one that stays detaching is forced, whoever began it: the guest may never let go of a device that it never got
        0.0..19.5/0.5  mine/detaching         -> no write
        20.0           mine/detaching         -> force:at-b
        21.0           mine
        60.0           mine/detaching         -> no write

    what was attached here is looked after until another one is: its address has to be dropped, whatever becomes of it
        0.0   mine/free                       -> ; bound none
        10.0  mine/detaching                  -> ; bound eni-b
        20.0  mine/free                       -> ; bound eni-b
        30.0  mine                            -> ; bound eni-b
    """,
    Keeper,
)


test_what_is_of_no_use_any_more_is_given_back = scenes(
    f"""
    a spare address is given back after two answers half a minute apart: a new Elastic IP needs one for a moment
        0.0   mine spare               -> no write
        29.9  mine spare               -> no write
        30.0  mine spare               -> unassign:eni-b

    while EC2 does not answer, time alone shows nothing
        0.0   mine spare
        300   mine spare asked_at=0.0  -> no write

    for one that was of use in between the wait begins anew
        0.0   mine spare
        20.0  mine
        40.0  mine spare               -> no write
        70.0  mine spare               -> unassign:eni-b

    whoever took over deletes the standing ENI of an instance that is gone (A4)
        0.0       mine orphan holds=True  -> no write
        {UNUSED}  mine orphan holds=True  -> delete:eni-a

    or that has ended
        0.0       mine orphan i-a:terminated holds=True  -> no write
        {UNUSED}  mine orphan i-a:terminated holds=True  -> delete:eni-a

    what is broken is mended before anything is given back: the own ENI comes first
        0.0   mine spare
        60.0  broken spare             -> check-source
        61.0  mine spare               -> unassign:eni-b

    a node without a standing ENI gives nothing back: it has more urgent things to do
        0.0       orphan holds=True    -> create
        {UNUSED}  orphan holds=True    -> create:1
        3600.0    orphan holds=True    -> create:2
    """,
    Keeper,
)


MAY_COME_BACK = ("pending", "running", "shutting-down", "stopping", "stopped")
"""A stopped instance finds its standing ENI again, and one that starts has just created it."""


@pytest.mark.parametrize(
    "shown",
    [
        *(f"orphan i-a:{state}" for state in MAY_COME_BACK),
        "orphan instances=None",
        "orphan holds=False",
        "orphan in_use={'eni-a'}",
        "other's",
    ],
    ids=[*MAY_COME_BACK, "not described: throttled, not gone", "by a standby", "with a floating address", "attached"],
)
def test_another_nodes_standing_eni_that_may_be_of_use_is_not_deleted(shown: str) -> None:
    """One with an address keeps that from being handed out to a pod; and of all nodes the holder alone deletes."""
    replay(f"0..3600/{UNUSED}  mine holds=True {shown}  -> no write", Keeper())
