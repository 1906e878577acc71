"""A ConfigMap that changes under a running agent: what is taken up, what is told, and what is refused."""

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from floatingip.agent.effects import Probe
from floatingip.agent.events import Event, Reconciled, SettingsFound
from floatingip.core import timing
from floatingip.core.errors import ConfigurationError
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.settings import Settings
from floatingip.edges.configmap import Watched, load
from floatingip.runtime.questions import SettingsLoop
from tests.core.agents import Node
from tests.core.nodes import ADDRESS, OTHER

RESTART = "`kubectl rollout restart deployment floating-ip` takes them up"


class ConfigMap:
    """Its files as kubelet mounts them: by a link to a directory, of which another one takes the place."""

    def __init__(self, path: Path) -> None:
        self.settings = path / "settings.yaml"
        self._path = path
        self._generation = 0
        for name in ("settings.yaml", "FLOATING_IP"):
            (path / name).symlink_to(Path("..data", name))

    def hold(self, document: str, address: str | None = "10.0.0.100", **others: str) -> None:
        """All files change at once; ``others`` are the texts of more keys."""
        self._generation += 1
        data = self._path / f"..{self._generation}"
        data.mkdir()
        (data / "settings.yaml").write_text(document, encoding="utf-8")
        for key, text in others.items():
            (data / key).write_text(text, encoding="utf-8")
        if address is not None:
            (data / "FLOATING_IP").write_text(address, encoding="utf-8")
        (self._path / "..new").symlink_to(data.name)
        (self._path / "..new").rename(self._path / "..data")


@pytest.fixture(name="config_map")
def _config_map(tmp_path: Path) -> ConfigMap:
    return ConfigMap(tmp_path)


def test_the_files_are_read_when_another_takes_their_place(config_map: ConfigMap) -> None:
    """And only then; the address is the one that a start would take, not the environment's."""
    config_map.hold("fall: 12\n")
    watched, environ = Watched(config_map.settings), {"FLOATING_IP": "10.0.0.100"}
    assert watched.changed(environ) == load(environ, config_map.settings)
    assert watched.changed(environ) is None
    config_map.hold("fall: 13\n", "10.0.0.101\n")
    assert watched.changed(environ) == Settings((IPv4Address("10.0.0.101"),), fall=13)
    assert watched.changed(environ) is None
    config_map.hold("fall: 13\n", None)
    assert watched.changed(environ) == Settings((ADDRESS,), fall=13), "a manifest that does not mount the address"


def test_a_setting_beside_the_document_is_refused(config_map: ConfigMap) -> None:
    """As where its line was indented too little: it is a key of the ConfigMap of its own then."""
    environ = {"FLOATING_IP": "10.0.0.100"}
    config_map.hold("fall: 12\n", note="somebody's own")
    watched = Watched(config_map.settings)
    assert watched.changed(environ) == Settings((ADDRESS,), fall=12)
    config_map.hold("fall: 12\n", carry="address", note="somebody's own")
    refused = r"^carry: stands beside settings\.yaml .* indent it"
    with pytest.raises(ConfigurationError, match=refused):
        load(environ, config_map.settings)
    with pytest.raises(ConfigurationError, match=refused):
        watched.changed(environ)


def test_what_a_start_would_refuse_is_found_out_once(config_map: ConfigMap) -> None:
    """With the message of the start; also that the files are gone."""
    found: list[Event] = []
    config_map.hold("fall: many\n")
    watched = Watched(config_map.settings)
    loop = SettingsLoop(lambda: watched.changed({}), found.append)
    loop.look()
    loop.look()
    (found_out,) = found
    assert isinstance(found_out, SettingsFound)
    assert found_out.settings is None
    assert found_out.problem.startswith("fall: 'many' in ")
    config_map.settings.unlink()
    with pytest.raises(ConfigurationError, match="No such file"):
        watched.changed({})


@pytest.fixture(name="node")
def _node() -> Node:
    """A standby in peace."""
    node = Node()
    node.handle()
    node.looked(OTHER)
    node.handle(Reconciled(ADDRESS, PlumbingReport(PlumbingState.NO_LINK, extent=Extent.NOTHING)), after=0.1)
    return node


def changed(node: Node, **changes: object) -> str:
    """The ConfigMap differs by these from what the node began with; what is told of it."""
    before = len(node.told.log)
    began = node.agent._shared.settings
    node.handle(SettingsFound(replace(began, **changes)), after=1.0)  # type: ignore[arg-type]  # the test names settings
    node.handle(after=timing.CALM_TICK)
    return node.told.log[before:]


def test_what_is_safe_is_taken_up(node: Node) -> None:
    """The next probes and decisions go by it, and nothing is left to say."""
    told = changed(node, probe_interval=0.5, patience=20.0)
    assert "level=info event=settings probe_interval=0.500 patience=20.000" in told
    assert "level=warning" not in told
    assert node.published.note == ""
    (probe,) = [effect for effect in node.told.effects if isinstance(effect, Probe)][-1].probings
    assert probe.interval == 0.5
    assert node.agent._shared.settings.patience == 20.0


def test_what_needs_a_restart_is_told_until_it_is_taken_back(node: Node) -> None:
    """By the name that the user gave it, with both values; again every ten minutes, and to whoever asks whether it is
    ready, which it is.
    """
    expected = f"the ConfigMap has other settings than are in use: FLOATING_IP (10.0.0.9, in use is {ADDRESS}), "
    told = changed(node, floating_ips=(IPv4Address("10.0.0.9"),), port=9808, fall=12)
    assert f'level=warning event=settings msg="{expected}port (9808, in use is 9807); {RESTART}' in told
    assert "level=info event=settings fall=12" in told
    assert node.published.note.startswith(expected)
    assert node.published.not_ready() == ""
    node.handle(after=timing.SAID_AGAIN - 10.0)
    assert node.told.log.count("level=warning event=settings") == 1
    node.handle(after=20.0)
    assert node.told.log.count("level=warning event=settings") == 2
    assert 'level=info event=settings msg="the ConfigMap\'s settings are in use"' in changed(node, fall=12)
    assert "ConfigMap" not in node.published.note


def test_what_contradicts_a_setting_that_stays_is_not_taken_up(node: Node) -> None:
    """Each of them alone would be fine."""
    told = changed(node, probe_timeout=3.0, fall=2)
    assert "fall (2, in use is 11)" in told
    assert node.agent._shared.settings.fall == 11


def test_refused_settings_change_nothing_and_are_told(node: Node) -> None:
    """In one line, with the message of the start."""
    node.handle(SettingsFound(None, "fall: many should be less\ncolour: unknown"), after=1.0)
    node.handle(after=timing.CALM_TICK)
    said = "the ConfigMap's new settings are refused, those in use stay: fall: many should be less; colour: unknown"
    assert f'level=warning event=settings msg="{said}"' in node.told.log
    assert node.published.note == said
    assert "level=info event=settings" in changed(node)
