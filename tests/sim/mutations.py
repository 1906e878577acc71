"""
Faults that somebody could make: each is put into the product, to see that a history finds it.

    python -m tests.sim.mutations --seeds 0..99 "no evidence is needed"     play these until one has a fault

A mutation is an edit of one module's source, made when that module is imported: so this module is imported before any
of the product's, in a process of its own.  A mutation whose text is no longer in the source is an error.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType

from tests.sim.quick import load

DECISION = "floatingip.core.decision"


@dataclass(frozen=True)
class Mutation:
    """In ``module`` the text ``old`` becomes ``new``.  The history of the seed ``caught_at`` has found it: one with a
    power cut, or, if some are named, with these ``misfortunes``.
    """

    name: str
    module: str
    old: str
    new: str
    caught_at: int
    misfortunes: tuple[str, ...] = ()

    @property
    def caught_within(self) -> tuple[int, int]:
        """The first and the last of the seeds of which one must find it: a change of the code may shift the seed a
        little.
        """
        return self.caught_at, self.caught_at + 20

    @property
    def row(self) -> str:
        """Its row in the table of docs/simulation.md."""
        return f"| {self.name} | {', '.join(self.misfortunes) or 'a power cut'} | {self.caught_at} |"


MUTATIONS = (
    Mutation(
        "no fencing token: whatever is attached is detached",
        "floatingip.runtime.performing",
        "cloud.detach_eni(attachment_id, force=force)",
        "[cloud.detach_eni(a.id, force=force) for eni in cloud.describe_enis('cluster') if (a := eni.attachment)]",
        6,
    ),
    Mutation(
        "no evidence is needed",
        f"{DECISION}.evidence",
        "    if needs_answer(memory, view, owner):\n        return",
        '    return ""\n    if needs_answer(memory, view, owner):\n        return',
        0,
        ("a worker is cut off", "the security group is closed"),
    ),
    Mutation(
        "a peer's word from before the doubt is evidence",
        f"{DECISION}.evidence",
        "if peer.asked_at >= since and now - peer.heard_at",
        "if now - peer.heard_at",
        42,
        ("the security group is closed", "a worker is blind"),
    ),
    Mutation(
        "the end of a partition convicts",
        f"{DECISION}.evidence",
        "first_at is not None and lost_at < first_at",
        "first_at is not None and False",
        198,
        ("the security group is closed",),
    ),
    Mutation(
        "the ranks of those who could take over are ignored",
        f"{DECISION}.turns",
        "    is_told = way_to",
        "    return []\n    is_told = way_to",
        31,
    ),
    Mutation(
        "no detach is ever forced",
        f"{DECISION}.rules",
        "if memory.detaching_since is None:",
        "if True:",
        11,
        ("a machine hangs", "detaches are stuck", "somebody detaches an interface"),
    ),
    Mutation(
        "a record of the ration is never found again",
        f"{DECISION}.ration",
        "return any(move.attachment == attachment_id[-ID_END:] and move.wall >= since for move in parse(value))",
        "return False",
        19,
        ("a machine is without power",),
    ),
    Mutation(
        "the ration never counts",
        f"{DECISION}.ration",
        "    if not rationed:\n        return 0.0",
        "    return 0.0",
        11,
        ("whoever holds it is written off",),
    ),
    Mutation(
        "no patience with a holder that calls itself sound",
        f"{DECISION}.rules",
        "since >= situation.settings.patience",
        "since >= 0.0",
        1,
        ("a worker is mute",),
    ),
    Mutation(
        "what IMDS lacks is carried on",
        "floatingip.agent.shown_by_imds",
        "LACKED_BY_IMDS = 3",
        "LACKED_BY_IMDS = 10**9",
        32,
        ("a worker is cut off",),
    ),
    Mutation(
        "the generation of a token never advances",
        "floatingip.core.writes",
        "return Create(self.generation + 1 if spent or self._is_gone(asked_at) else self.generation)",
        "return Create(self.generation)",
        1,
        ("somebody deletes an interface",),
    ),
    Mutation(
        "an error of EC2 is taken for `nobody has it`",
        "floatingip.runtime.performing",
        "    except CloudError as error:\n        return LookFailed(",
        "    except CloudError as error:\n"
        "        from floatingip.agent.looks import Seen\n"
        "        at = asked.question.asked_at\n"
        "        return Looked(Seen(at, {}, (), frozenset(), frozenset(), '', {}, None, {}))\n"
        "        return LookFailed(",
        4,
        ("EC2 is not reached", "IMDS is silent"),
    ),
    Mutation(
        "an IPv6 address is claimed without a fence",
        f"{DECISION}.carry_address",
        "    if isinstance(target, IPv6Address):\n        return Unassign",
        "    if False:\n        return Unassign",
        9,
    ),
    Mutation(
        "what failed is sent again at once",
        "floatingip.runtime.performing",
        "    except CloudError as error:\n        return Wrote(",
        "    except CloudError as error:\n"
        "        try:\n            _make(cloud, me, asked.write, asked.making)\n"
        "        except CloudError:\n            pass\n"
        "        return Wrote(",
        11,
        ("answers to writes are lost", "a machine is without power"),
    ),
    Mutation(
        "a write is made however long ago it was decided",
        "floatingip.runtime.performing",
        "late > timing.DECIDED_FOR",
        "late > 1_000_000",
        507,
        ("a node stands still during a move", "a machine is without power"),
    ),
    Mutation(
        "an error of IMDS is taken for `it has no addresses`",
        "floatingip.runtime.questions",
        "                self._post(MetadataTroubled(str(error)))\n        if now",
        "                self._post(AddressesShown(mac, frozenset(), now))\n        if now",
        1,
        ("IMDS is silent",),
    ),
    Mutation(
        "whoever comes first by its id takes the address back",
        f"{DECISION}.rules",
        "    asked_for = _first(ASKED_FOR, situation)",
        "    if situation.view.me < situation.who:\n"
        "        return Charge(Rule.R5, Reason.HOLDER_LEAVING, '', rationed=False)\n"
        "    asked_for = _first(ASKED_FOR, situation)",
        21,
    ),
    Mutation(
        "EC2 is asked anew whenever anything changes",
        "floatingip.agent.looking",
        "return max(due, self._calls.due(1))",
        "return due",
        64,
        ("packets are lost", "packets are late"),
    ),
    Mutation(
        "a pause is not heeded",
        f"{DECISION}.conviction",
        "situation.paused_for > 0 and doubt",
        "False and doubt",
        24,
        ("somebody pauses all moves", "a machine is without power"),
    ),
    Mutation(
        "a node that refuses is taken for a dead one where probes are blocked",
        f"{DECISION}.rules",
        "    return not word.refused and situation",
        "    return situation",
        30,
        ("pings are dropped", "an observer is killed"),
    ),
    Mutation(
        "a deleted pod is taken for the end of its node",
        "floatingip.agent.pod",
        '    if pod.disruption not in ("", BY_SCHEDULER) and (pod.deleted or memory.stop_at is not None):',
        "    if pod.deleted:",
        3,
        ("somebody deletes an observer's pod",),
    ),
    Mutation(
        "a node that is about to end relieves another one",
        f"{DECISION}.rules",
        "if view.leaving:\n        return False\n    is_ours",
        "is_ours",
        1463,
        ("the end of a machine is announced",),
    ),
    Mutation(
        "the word of a new holder is not heeded by the old one",
        f"{DECISION}.here",
        " or rivals(view, attachment):",
        ":",
        9,
        ("IMDS is late", "the end of a machine is announced"),
    ),
    Mutation(
        "that all fell silent at once is no sign of being cut off",
        f"{DECISION}.evidence",
        "    if silent_until - silent_since >= (timing.ALONE_FOR if alone else timing.CUT_OFF_FOR):",
        "    if True:",
        0,
        ("the security group is closed", "a worker is cut off"),
    ),
    Mutation(
        "what was answered before the holder vouched is evidence",
        f"{DECISION}.view",
        "return lost_at if lost_at is None or vouched_at is None else max(lost_at, vouched_at)",
        "return lost_at",
        85,
        ("pings are dropped", "a worker is cut off"),
    ),
)


class _Edited(importlib.machinery.SourceFileLoader):
    """Loads a module with a changed source."""

    def __init__(self, mutation: Mutation, path: str) -> None:
        super().__init__(mutation.module, path)
        self._mutation = mutation

    def get_code(self, fullname: str) -> CodeType:
        path, mutation = self.get_filename(fullname), self._mutation
        source = self.get_data(path).decode()
        if source.count(mutation.old) != 1:
            raise ValueError(f"{mutation.name}: {mutation.module} has {source.count(mutation.old)} of: {mutation.old}")
        code: CodeType = self.source_to_code(source.replace(mutation.old, mutation.new).encode(), path)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._mutation.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(fullname)
        spec.loader = _Edited(self._mutation, spec.origin)
        return spec


def apply(mutation: Mutation) -> None:
    """Put this fault into the product, in this process."""
    early = sorted(name for name in sys.modules if name.split(".")[0] == "floatingip")
    assert not early, f"imported already: {early}"
    sys.meta_path.insert(0, _Finder(mutation))


def caught(mutation: Mutation, seeds: Iterable[int]) -> tuple[int, str] | None:
    """The first of these seeds whose history has a fault, and that fault; None if none has.  The mutation must have
    been applied.
    """
    from tests.sim.history import play, suffer  # noqa: PLC0415 - the product is imported by it, with the fault put in

    for seed in seeds:
        try:
            only = mutation.misfortunes
            faults = (suffer(seed, only=only, hasty=True) if only else play(seed, hasty=True)).faults
        except (AssertionError, ValueError, LookupError, TypeError) as error:
            faults = (f"{type(error).__name__}: {error}",)
        if faults:
            return seed, faults[0]
    return None


def main() -> int:
    """Play histories until one has a fault; returns 0 if one has."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutations", description="Play with a fault put in.")
    parser.add_argument("--seeds", metavar="A..B", help="from A to B, by default those among which it must be found")
    parser.add_argument("name", choices=[mutation.name for mutation in MUTATIONS])
    options = parser.parse_args()
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == options.name)
    first, _, last = (options.seeds or "{}..{}".format(*mutation.caught_within)).partition("..")
    apply(mutation)
    load()
    found = caught(mutation, range(int(first), int(last or first) + 1))
    print(f"{mutation.name}: {f'caught at {found[0]}: {found[1]}' if found else f'not caught in {first}..{last}'}")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
