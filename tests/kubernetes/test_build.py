"""What `make kubernetes` builds is what the documents speak of, as it is pinned."""

import re
from pathlib import Path

import pytest

from lab.kubernetes import build
from lab.kubernetes.build import FAMILIES, OTHER_VERSIONS, Family
from tests.packaging.test_manifests import SUPPORTED

ROOT = Path(__file__).parents[2]
MINOR = r"KUBERNETES_VERSION=(1\.\d+)"


def family(name: str) -> Family:
    return next(one for one in FAMILIES if one.name == name)


def go_mod(one: Family) -> str:
    return (one.folder / "go.mod").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["docs/install.md", "eksctl-config.yaml"])
def test_kubernetes_is_of_the_version_that_the_documents_create(document: str) -> None:
    """A minor version; which patch it is EKS decides."""
    [minor] = set(re.findall(MINOR, (ROOT / document).read_text(encoding="utf-8")))
    assert build.version().startswith(f"v{minor}.")


def test_each_supported_version_has_an_api_server_to_show_the_manifests_to() -> None:
    """`make test-kubernetes-versions` does."""
    minors = sorted(one.version.removeprefix("v").rpartition(".")[0] for one in (family("kubernetes"), *OTHER_VERSIONS))
    assert minors == list(SUPPORTED)


@pytest.mark.parametrize("one", [family("kubernetes"), *OTHER_VERSIONS], ids=lambda one: one.version)
def test_kubernetes_own_modules_are_of_the_same_version(one: Family) -> None:
    """Its go.mod requires them as v0.0.0: each needs a replacement, and none may be of another version."""
    text = go_mod(one)
    needed = set(re.findall(r"^\s*(k8s\.io/\S+) v0\.0\.0(?:\s|$)", text, re.M))
    replaced = dict(re.findall(r"^\s*(k8s\.io/\S+) => \1 (v0\.\S+)$", text, re.M))
    assert needed
    assert needed <= set(replaced)
    assert set(replaced.values()) == {one.version.replace("v1.", "v0.", 1)}


@pytest.mark.parametrize("one", [*FAMILIES, *OTHER_VERSIONS], ids=lambda one: one.name)
def test_what_is_built_is_pinned(one: Family) -> None:
    """Every package is a tool of its module's go.mod, or the module itself; its sums are there."""
    tools = set(re.findall(r"^\s*(?:tool )?([\w./-]+/[\w./-]+)$", go_mod(one), re.M))
    for package in one.binaries.values():
        assert package == "." or package in tools
    if one.of:
        assert re.fullmatch(r"v\d+\.\d+\.\d+", one.version)
        assert one.of in (one.folder / "go.sum").read_text(encoding="utf-8")


def all_but_one(folder: Path) -> list[str]:
    """Put all binaries there but the first one; their names."""
    names = [name for one in FAMILIES for name in one.binaries]
    for name in names[1:]:
        (folder / name).touch(mode=0o755)
    return names


def test_a_folder_that_is_named_must_have_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named in one line."""
    monkeypatch.setenv(build.VARIABLE, str(tmp_path))
    names = all_but_one(tmp_path)
    with pytest.raises(SystemExit, match=rf"^{build.VARIABLE}={tmp_path} lacks {names[0]}$"):
        build.binaries()
    (tmp_path / names[0]).touch(mode=0o755)
    assert build.binaries() == tmp_path


def test_nothing_is_built_without_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install, and the other way."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SystemExit, match=rf"^Kubernetes is built by Go, .*{build.VARIABLE}=DIR$"):
        build.build()


def test_who_lacks_the_binaries_reads_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line: what is not built, unless that is all of it, and whether Go is there to build it."""
    monkeypatch.delenv(build.VARIABLE, raising=False)
    monkeypatch.setattr(build, "BUILT", tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SystemExit, match=r"^The real Kubernetes is not built: .*, which is not here .*=DIR$"):
        build.binaries()
    (tmp_path / "go").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    names = all_but_one(tmp_path)
    with pytest.raises(SystemExit, match=rf"^The real Kubernetes is not built \({names[0]}\): .*needs Go; .*=DIR$"):
        build.binaries()


def test_a_family_is_built_anew_when_its_folder_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MODULES", tmp_path / "go")
    monkeypatch.setattr(build, "BUILT", tmp_path / "built")
    one = Family("pause", "", {"pause": "."})
    one.folder.mkdir(parents=True)
    (one.folder / "go.mod").write_text("module x\n")
    build.BUILT.mkdir()
    (build.BUILT / "pause").touch()
    assert not build._is_built(one, "go1")
    build._stamp(one).write_text(build._key(one, "go1"))
    assert build._is_built(one, "go1")
    assert not build._is_built(one, "go2")
    (one.folder / "go.mod").write_text("module y\n")
    assert not build._is_built(one, "go1")
