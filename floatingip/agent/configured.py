"""Changes of the ConfigMap after the start: taken up if that is safe, and otherwise logged."""

from __future__ import annotations

from dataclasses import replace

from floatingip.agent.events import SettingsFound
from floatingip.agent.outbox import Outbox
from floatingip.agent.shared import Shared
from floatingip.agent.trouble import Trouble
from floatingip.core.settings import LIVE, Settings, contradictions, differences

RESTART = "`kubectl rollout restart deployment floating-ip`"


class Configured:
    """Keeps the settings in use up to date; ``note`` says how the ConfigMap's differ from them, empty if not."""

    def __init__(self, shared: Shared, out: Outbox) -> None:
        self.note = ""
        self._shared = shared
        self._out = out
        self._trouble = Trouble()

    def found(self, found: SettingsFound) -> None:
        """The ConfigMap has changed: take up the settings that may change at any time, and note what else differs."""
        if found.settings is None:
            problem = "; ".join(found.problem.splitlines())
            self.note = f"the ConfigMap's new settings are refused, those in use stay: {problem}"
            return
        self._take_up(found.settings)
        left = differences(self._shared.settings, found.settings)
        told = ", ".join(f"{name} ({new}, in use is {old})" for name, (old, new) in left.items())
        self.note = f"the ConfigMap has other settings than are in use: {told}; {RESTART} takes them up" if left else ""

    def follow(self, now: float) -> None:
        """Warn now and then of settings that differ, and log when none does any more."""
        if self._trouble.is_due(self.note, now):
            self._out.warning("settings", self.note)
        elif self._trouble.is_over:
            self._out.info("settings", "the ConfigMap's settings are in use")

    def _take_up(self, found: Settings) -> None:
        """Take up the settings that may change at any time, unless they contradict those that stay."""
        before = self._shared.settings
        taken = replace(before, **{name: getattr(found, name) for name in LIVE})
        changed = differences(before, taken)
        if changed and not any(contradictions(taken)):
            self._shared.settings = taken
            self._out.info(
                "settings", "taken up from the ConfigMap", **{name: new for name, (_, new) in changed.items()}
            )
