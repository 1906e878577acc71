"""R8: the answer that a write waits for is asked for when that write may be made, and not before."""

from __future__ import annotations

import pytest

from floatingip.core.decision.decision import Reason
from floatingip.core.writes import Attach, Detach, Write
from tests.core.deciders import Observer

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
