"""EC2's answers as trees, and what may have befallen them on the way."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from xml.etree import ElementTree as Tree

from hypothesis import strategies as st

from tests.hostile.strategies import names

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"

odd = st.one_of(
    names.map(lambda text: "".join(c for c in text if c >= " ")),
    st.sampled_from(["", " ", "true", "none", "null", "-1", "4294967296", "9" * 40, "*", "i-0b", "us-east-1a"]),
    st.sampled_from(["0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "2001:db8::1", "0.0.0.0/0", "10.0.0.100/32"]),
    st.sampled_from(["9999-12-31T23:59:59.999Z", "0001-01-01", "attached", "available", "running", "terminated"]),
)
"""What an element may say that is not what it should."""


def as_bytes(root: Tree.Element) -> bytes:
    """As it comes on the wire."""
    Tree.register_namespace("", NAMESPACE)
    return Tree.tostring(root)


def found(root: Tree.Element, path: str) -> list[Tree.Element]:
    """All at this path of local names."""
    return root.findall("/".join(f"{{{NAMESPACE}}}{step}" for step in path.split("/")))


Change = Callable[[Tree.Element, Tree.Element], None]
"""Does something to a child of a parent."""


def _drop(parent: Tree.Element, child: Tree.Element) -> None:
    parent.remove(child)


def _empty(_parent: Tree.Element, child: Tree.Element) -> None:
    child.clear()


def _double(parent: Tree.Element, child: Tree.Element) -> None:
    parent.append(deepcopy(child))


def _say(text: str) -> Change:
    def change(_parent: Tree.Element, child: Tree.Element) -> None:
        child.text = text

    return change


def _add(name: str) -> Change:
    def change(_parent: Tree.Element, child: Tree.Element) -> None:
        Tree.SubElement(child, f"{{{NAMESPACE}}}{name}").text = "new"

    return change


changes: st.SearchStrategy[Change] = st.one_of(
    st.just(_drop),
    st.just(_empty),
    st.just(_double),
    odd.map(_say),
    st.sampled_from(["item", "value", "state"]).map(_add),
)


@st.composite
def befallen(draw: st.DrawFn, sound: Tree.Element) -> Tree.Element:
    """A copy in which something has happened to some elements, the root excepted."""
    root = deepcopy(sound)
    for _ in range(draw(st.integers(1, 2))):
        pairs = [(parent, child) for parent in root.iter() for child in parent]
        if pairs:
            parent, child = draw(st.sampled_from(range(len(pairs))).map(pairs.__getitem__))
            draw(changes)(parent, child)
    return root
