"""What the lab makes is removed again, however it ends."""

import pytest

from lab.resource import Resource


class Thing(Resource):
    """Takes two steps, and perhaps fails between both."""

    def __init__(self, *, fails: bool) -> None:
        self.parts: list[str] = []
        self._fails = fails

    def _build(self) -> None:
        self.parts.append("first")
        if self._fails:
            raise KeyboardInterrupt
        self.parts.append("second")

    def close(self) -> None:
        self.parts.clear()


def test_all_of_it_is_there_inside_of_the_block_and_nothing_after_it() -> None:
    with Thing(fails=False) as thing:
        assert thing.parts == ["first", "second"]
    assert not thing.parts


def test_what_fails_in_the_middle_leaves_nothing_and_says_why() -> None:
    """Also when it is a person who ends it: `with` alone would not close what it could not enter."""
    thing = Thing(fails=True)
    with pytest.raises(KeyboardInterrupt), thing:
        pass
    assert not thing.parts
