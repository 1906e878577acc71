"""
The word, which is what an observer says of itself: to JSON and back, and what it means for one attachment.

What comes from another node is a valid word or counts as silence: an answer of another form, length or depth says
nothing of the node.  A word names its instance.  The asker makes sure that it comes from there, by asking at the
address that EC2 shows for that instance.  To a stranger an observer tells only whether it is ready.  That is a word,
too: an observer is there, but vouches for nothing.

During a rollout two versions run.  What only a newer version says is ignored, so that it counts neither for nor against
anybody; what an older version does not say yet has a default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from floatingip.core.bounded_json import as_count, as_flag, as_list, as_object, as_text, read_json
from floatingip.core.ec2 import Attachment
from floatingip.core.model import Address
from floatingip.core.peer import Sight, Word, WordState
from floatingip.core.probe import Served

LONGEST = 131_072
"""Bytes of a word, at most: four times what 127 addresses need, and there are no more values of the firewall mark."""

MOST = 256
"""Entries of each kind in a word, at most."""

PEERS_AT_MOST = 16
"""At most this many observers are asked, and named to others; a Deployment has two to a handful."""

DEEPEST = 10
"""Levels of nesting in a word, at most.  Ours has three (the status, what it holds, how it holds that); a newer
version's may have more."""

NAME_LONGEST = 128
"""Characters, at most, of a cluster's name (EKS allows 100), an id, an attachment with an address, an address."""

SENTENCE_LONGEST = 300
"""Characters of a problem; what is longer is cut."""

_INSTANCE_ID = re.compile(r"i-[0-9a-f]{1,32}")
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Held:
    """How a node holds one floating address, and by which ``attachment``.

    ``problem`` is why it does not carry the address, empty if it does.  ``leaving`` is why it asks to be relieved,
    empty if it does not.  ``written_off``: it asks only because Kubernetes has given its node up.
    """

    attachment: str
    problem: str = ""
    leaving: str = ""
    written_off: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """What an observer says of itself.

    ``name`` is its deployment's name, ``instance_id`` its node's instance.  ``holds`` has the addresses that its node
    holds, by the settings' text.  ``sees_up`` are sightings of addresses that its own probes see UP (`Way.of_one`),
    ``unsure`` those of which it cannot tell yet.  ``free_slots`` is how many more ENIs its node could take, None while
    it does not know.  ``served`` says where NodePorts answered it lately.  ``leaving``: its node is about to end.
    ``claiming`` are addresses that EC2 has accepted for its node but does not show there yet, and those that EC2 is
    being asked for.  ``peers`` are the instances of the observers that asked it lately; their addresses are taken from
    EC2 only.  ``sights`` says, by floating address, whether the holder reaches the asker from it.  ``ending``: this
    observer is about to end.
    """

    name: str
    instance_id: str
    holds: Mapping[str, Held] = field(default_factory=dict)
    sees_up: tuple[str, ...] = ()
    free_slots: int | None = None
    served: Served = field(default_factory=dict)
    leaving: bool = False
    claiming: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    sights: Mapping[str, Sight] = field(default_factory=dict)
    ending: bool = False
    unsure: tuple[str, ...] = ()


RESERVED = Status("", "")
"""The word of an observer that does not know the asker: it says nothing but that it is there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question, asked at ``asked_at`` and known at ``known_at``.

    ``status`` is None if there was no answer.  ``refused``: the node refused the connection, so it is alive, but has no
    observer.
    """

    asked_at: float
    known_at: float
    status: Status | None
    refused: bool = False


def shortened(sentence: str, longest: int = SENTENCE_LONGEST) -> str:
    """The sentence, cut to ``longest`` characters; dots show the cut, as the remedy that stands at its end is lost."""
    return sentence if len(sentence) <= longest else f"{sentence[: longest - 4]} ..."


def is_instance_id(text: str) -> bool:
    """Whether the text could be an instance's id."""
    return _INSTANCE_ID.fullmatch(text) is not None


def to_peer(status: Status, peers: Mapping[str, Address], sights: Mapping[str, Sight]) -> str:
    """The word as JSON, for a peer; ``peers`` has primary addresses by instance id."""
    told = {each.name: getattr(status, each.name) for each in fields(status)}
    told |= {"peers": {peer: str(at) for peer, at in peers.items()}, "sights": {**sights}}
    return json.dumps(told, default=asdict)


def to_stranger(*, ready: bool) -> str:
    """The word as JSON, for a stranger."""
    return json.dumps({"ready": ready})


def parse(body: bytes) -> Status | None:
    """The word in an answer's body; None if the body is no valid word."""
    try:
        document = _entries(read_json(body, depth=DEEPEST))
        if "ready" in document and "instance_id" not in document:
            return RESERVED
        return _status(document)
    except (ValueError, KeyError):
        return None


def word_on(answer: Answer | None, name: str, target: str, attachment: Attachment | None, *, unreachable: bool) -> Word:
    """The holder's word on one attachment, made from its observer's answer; ``since`` is left for the caller to fill.

    The answer counts only with our name, the holder's instance and the judged attachment.  ``unreachable``: EC2 shows
    no address at which the holder could be asked.
    """
    status = answer.status if answer is not None else None
    if attachment is None or (answer is None and not unreachable):
        return Word(WordState.UNASKED)
    if status is None:
        if answer is None:
            return Word(WordState.SILENT)
        return Word(WordState.SILENT, refused=answer.refused, asked_at=answer.asked_at)
    held = status.holds.get(target)
    sight = status.sights.get(target, Sight.UNTRIED)
    if (status.name, status.instance_id) != (name, attachment.instance_id) or held is None:
        return Word(WordState.OTHER, sight=sight)
    if held.attachment != attachment.id:
        return Word(WordState.OTHER, sight=sight)
    if held.leaving:
        return Word(WordState.LEAVING, sight=sight, detail=held.leaving, written_off=held.written_off)
    state = WordState.UNSOUND if held.problem else WordState.SOUND
    return Word(state, sight=sight, detail=held.problem, ending=status.ending)


def _status(document: Mapping[str, Any]) -> Status:
    return Status(
        name=_name(document["name"]),
        instance_id=_instance_id(document["instance_id"]),
        holds={target: _held(held) for target, held in _entries(document["holds"]).items()},
        sees_up=as_list(document["sees_up"], _name, MOST),
        free_slots=None if document["free_slots"] is None else as_count(document["free_slots"], MOST),
        served={place: _ports(ports) for place, ports in _entries(document.get("served", {})).items()},
        leaving=as_flag(document.get("leaving", False)),
        claiming=as_list(document.get("claiming", []), _name, MOST),
        peers=tuple(filter(is_instance_id, _entries(document["peers"])))[:PEERS_AT_MOST],
        sights=_sights(document["sights"]),
        ending=as_flag(document.get("ending", False)),
        unsure=as_list(document.get("unsure", []), _name, MOST),
    )


def _held(value: object) -> Held:
    held = _entries(value)
    return Held(
        _name(held["attachment"]),
        _sentence(held["problem"]),
        _sentence(held.get("leaving", "")),
        as_flag(held.get("written_off", False)),
    )


def _sights(value: object) -> Mapping[str, Sight]:
    told = {target: _name(sight) for target, sight in _entries(value).items()}
    return {target: Sight(sight) for target, sight in told.items() if sight in tuple(Sight)}


def _name(value: object) -> str:
    return as_text(value, NAME_LONGEST)


def _sentence(value: object) -> str:
    return as_text(value, LONGEST)[:SENTENCE_LONGEST]


def _instance_id(value: object) -> str:
    text = _name(value)
    if not is_instance_id(text):
        raise ValueError("no instance id")
    return text


def _entries(value: object) -> Mapping[str, Any]:
    return as_object(value, most=MOST, longest_key=NAME_LONGEST)


def _ports(value: object) -> Mapping[int, bool]:
    return {_port(number): as_flag(answers) for number, answers in _entries(value).items()}


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None:
        raise ValueError("no port")
    return int(text)
