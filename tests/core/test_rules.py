"""The ladder and the page that explains it say the same, so that whoever reads one finds the other."""

import inspect
import re
from pathlib import Path

import pytest

from floatingip.core.decision import rules
from floatingip.core.decision.decision import Rule

PAGE = (Path(__file__).parents[2] / "docs" / "how-it-works.md").read_text(encoding="utf-8")
LADDER = {name: function for name, function in vars(rules).items() if re.match(r"r\d+_", name)}


def test_the_rules_are_those_of_the_page() -> None:
    """Each has its row, and no row is about a rule that no decision can name."""
    assert re.findall(r"^\| ([RA]\d+) \|", PAGE, flags=re.MULTILINE) == [rule.value for rule in Rule]


@pytest.mark.parametrize("name", LADDER)
def test_a_function_of_the_ladder_is_about_the_rule_in_its_name(name: str) -> None:
    """Whoever looks for where R4 is decided finds it by its name."""
    assert set(re.findall(r"Rule\.(\w+)", inspect.getsource(LADDER[name]))) == {name.partition("_")[0].upper()}


def test_all_that_speaks_for_a_move_stands_on_the_ladder() -> None:
    """From R2 to R7, and nothing is defined that nobody asks."""
    asked = inspect.getsource(rules.charge_against)
    on_it = {function.__name__ for function in (*rules.ASKED_FOR, *rules.FOUND)} | set(re.findall(r"r\d+_\w+", asked))
    assert on_it == LADDER.keys() - {"r13_force"}
    assert {name.partition("_")[0].upper() for name in on_it} == {"R2", "R3", "R4", "R5", "R6", "R7"}
