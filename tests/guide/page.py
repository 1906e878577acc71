"""
The commands of docs/install.md, and the ways that a reader can take through them.

A way has all blocks of the page, in its order, but those that are about something else: what a block says, tells.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "docs" / "install.md"


@dataclass(frozen=True)
class Block:
    """One block of commands, and the number of its first line on the page."""

    line: int
    commands: str


def blocks() -> Iterator[Block]:
    """All blocks of the page, in its order; one inside of a list is indented."""
    text = INSTALL.read_text(encoding="utf-8")
    for found in re.finditer(r"^( *)```sh\n(.*?)^\1```$", text, flags=re.DOTALL | re.MULTILINE):
        line = text.count("\n", 0, found.start(2)) + 1
        yield Block(line, re.sub(f"^{found[1]}", "", found[2], flags=re.MULTILINE))


WAYS = ("region", "local-zone", "outposts", "existing", "migration")
_ALL = frozenset(WAYS)
_THERE = frozenset({"existing", "migration"})
_TO_BE_LEFT = _ALL - {"migration"}
"""Whoever comes from the original stays."""

ONLY = {
    "eksctl-config.yaml": {"region"},
    "docs/eksctl/local-zone.yaml": {"local-zone"},
    "docs/eksctl/outposts.yaml": {"outposts"},
    "addOrUpdateLabels": _THERE,
    "eksctl create podidentityassociation": {"region", "existing"},
    "eksctl create iamserviceaccount": {"local-zone", "outposts", "migration"},
    "INSTANCE=": _TO_BE_LEFT,
    "find-available-ips.py IPV4": {"region"},
    "find-available-ips.py IPV6": {"existing"},
    "--network-border-group": {"local-zone"},
    "--customer-owned-ipv4-pool": {"outposts"},
    "export FLOATING_IP=10.0.0.100": {"migration"},
    "export CLIENTS": _TO_BE_LEFT,
    "--protocol icmp": {"existing"},
    "export TAG": {"region"},
    'sed "s|:0.1.0$|:$TAG|"': {"region"},
    "while true": {"region"},
    "kubectl cordon": _TO_BE_LEFT,
    "kubectl drain": _TO_BE_LEFT,
    "terminate-instances": _TO_BE_LEFT,
    "kubectl delete -f sample-service.yaml": _TO_BE_LEFT,
    "delete-subnet-cidr-reservation": {"region", "existing"},
    "release-address": {"local-zone", "outposts"},
    "eksctl delete podidentityassociation": {"region", "existing"},
    "eksctl delete iamserviceaccount": {"local-zone", "outposts"},
    "aws iam delete-policy": _TO_BE_LEFT,
    "removeLabels": {"existing"},
    "eksctl delete cluster": _ALL - _THERE,
}
"""What a block says that is not for all, and whose it is."""


def way(name: str) -> list[Block]:
    """
    The blocks that this reader runs, in the order of the page; of a migration its own one comes before the image.

    Raises ValueError for something in ONLY that no block says, or several do.
    """
    found = list(blocks())
    for said in ONLY:
        if sum(said in block.commands for block in found) != 1:
            raise ValueError(f"not exactly one block says {said!r}")
    taken = [block for block in found if all(name in whose for said, whose in ONLY.items() if said in block.commands)]
    if name == "migration":
        [own] = [block for block in taken if "export FLOATING_IP=" in block.commands]
        taken.remove(own)
        before = next(at for at, block in enumerate(taken) if "aws ecr create-repository" in block.commands)
        taken.insert(before, own)
    return taken
