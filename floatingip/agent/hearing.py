"""What this node hears of one floating address: the word of the holder's observer."""

from __future__ import annotations

from dataclasses import replace

from floatingip.agent.shared import Shared
from floatingip.core import timing
from floatingip.core.ec2 import Attachment
from floatingip.core.peer import Word, WordState
from floatingip.core.word import Answer, word_on


class Hearing:
    """``word`` is what the holder's observer says about its attachment, on the floating address ``target``."""

    def __init__(self, target: str, shared: Shared) -> None:
        self.word = Word()
        self._target = target
        self._shared = shared
        self._word_of = ""
        self._heard: tuple[Answer | None, Attachment | None, str, bool] | None = None

    def hear(self, answer: Answer | None, attachment: Attachment | None, now: float) -> None:
        """Take up the last ``answer`` of the holder's observer, as its word on the holder's ``attachment``.

        An answer to an old question counts as none; but a question without an answer counts only as the next one says.
        """
        if answer is not None and answer.status is not None and now - answer.asked_at > timing.WORD_KEPT:
            answer = None
        holder = self._shared.instances.get(attachment.instance_id) if attachment is not None else None
        unreachable = holder is not None and holder.address is None
        heard = answer, attachment, self._shared.name, unreachable
        if heard == self._heard:
            return  # The same was said before, of the same attachment.
        self._heard = heard
        word = word_on(answer, self._shared.name, self._target, attachment, unreachable=unreachable)
        judged = attachment.id if attachment is not None else ""
        same = word.state is self.word.state and word.ending is self.word.ending and judged == self._word_of
        # To be written off by Kubernetes and to end are two different reasons to ask for relief.
        same = same and word.written_off is self.word.written_off
        # A node that refused the connection before was alive then: its silence begins only now.
        same = same and (word.refused or not self.word.refused)
        self.word = replace(word, since=self.word.since if same else now)
        self._word_of = judged

    def relieves_since(self) -> float:
        """Since when the holder has asked to be relieved; minus infinity while it does not."""
        return self.word.since if self.word.state is WordState.LEAVING else float("-inf")
