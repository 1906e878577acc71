"""The Dockerfile, as far as it can be checked without building; what it builds has tests of its own (test_image.py)."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PINNED = (ROOT / "requirements.txt").read_text(encoding="utf-8")

IMPORT_ALL = """
import importlib, json, pathlib, sys
before = set(sys.modules)
sys.modules["certifi"] = None
paths = [path.with_suffix("") for path in pathlib.Path("floatingip").rglob("*.py") if path.stem != "__main__"]
modules = [".".join(path.parts) for path in paths]
for module in modules:
    importlib.import_module(module)
files = {name: getattr(sys.modules[name], "__file__", None) or "" for name in set(sys.modules) - before}
foreign = {name.partition(".")[0] for name, file in files.items() if "site-packages" in file}
print(json.dumps([modules, sorted(foreign)]))
"""
"""Without certifi, which the developers have: botocore takes it where it is there, and else its own list of CAs."""


def instructions() -> list[tuple[str, str]]:
    """Each instruction and what follows it, continuation lines joined."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    split = (line.partition(" ") for line in joined.splitlines() if line)
    return [(name, rest.strip()) for name, _, rest in split]


def of(name: str) -> list[str]:
    """What follows each instruction of this name."""
    return [rest for instruction, rest in instructions() if instruction == name]


def copied() -> list[tuple[str, str]]:
    """Source and destination of each COPY from the build's context."""
    pairs = [shlex.split(rest) for rest in of("COPY") if not rest.startswith("--from=")]
    assert all(len(pair) == 2 for pair in pairs), "one source each, without options"
    return [(source, destination) for source, destination in pairs]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    begin = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return found[begin:]


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A directory with what the image's would contain."""
    for source, destination in copied():
        target = tmp_path / destination / (Path(source).name if destination == "." else "")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(ROOT / source)
    return tmp_path


def test_what_is_copied_exists_and_is_all_of_the_context() -> None:
    """A source that `.dockerignore` leaves out would end the build; more would be sent with it for nothing."""
    sources = {source.rstrip("/") for source, _ in copied()}
    assert all((ROOT / source).exists() for source in sources)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*"
    assert {line[1:].rstrip("/") for line in ignored if line.startswith("!")} == sources


def test_the_entry_point_is_the_package(image: Path) -> None:
    """In exec form, so that PID 1 gets SIGTERM; and it runs with nothing but what was copied."""
    [entry_point] = of("ENTRYPOINT")
    interpreter, *arguments = json.loads(entry_point)
    assert arguments == ["-m", "floatingip"]
    [directory] = set(of("WORKDIR"))
    environment = next(rest for rest in of("RUN") if " -m venv " in rest)
    assert " -m venv --without-pip .venv " in environment
    assert interpreter == f"{directory}/.venv/bin/python"
    assert not of("CMD"), "the container's arguments are the command: a default would hide that they are missing"
    command = [sys.executable, *arguments, "--version"]
    done = subprocess.run(command, cwd=image, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["floatingip"]), done.stderr


def test_the_product_has_a_short_name_on_the_path(image: Path) -> None:
    """`kubectl exec … -- floatingip status` needs no path, whatever directory it starts in; all arguments arrive."""
    [making] = [rest for rest in of("RUN") if "> bin/floatingip" in rest]
    subprocess.run(["sh", "-c", making], cwd=image, check=True)
    script = image / "bin" / "floatingip"
    text = script.read_text(encoding="utf-8").replace("/opt/floatingip/.venv/bin/python", sys.executable)
    script.write_text(text.replace("/opt/floatingip", str(image)), encoding="utf-8")
    [directory] = set(of("WORKDIR"))
    assert f"PATH={directory}/bin:" in of("ENV")[0]
    environment = {"PATH": f"{script.parent}:/usr/bin:/bin"}
    for arguments, code, said in ((["--version"], 0, "floatingip "), (["status", "a b"], 2, "floatingip: unrec")):
        done = subprocess.run(
            ["floatingip", *arguments], cwd="/", env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, (done.stdout or done.stderr)[: len(said)]) == (code, said)
    assert "unrecognized arguments: a b" in done.stderr


def test_every_module_finds_what_it_imports(image: Path) -> None:
    """In what was copied and among the pinned requirements; not in the lab or what the developers have."""
    command = [sys.executable, "-c", IMPORT_ALL]
    done = subprocess.run(command, cwd=image, env={}, capture_output=True, text=True, check=True)
    modules, foreign = json.loads(done.stdout)
    assert {"floatingip.cli", "floatingip.edges.ec2.cloud", "floatingip.edges.kernel.host"} <= set(modules)
    names = packages_distributions()
    distributions = {canonical(distribution) for package in foreign for distribution in names.get(package, ())}
    assert "boto3" in distributions, "it saw nothing"
    assert distributions <= set(map(canonical, re.findall(r"^([\w.-]+)==", PINNED, flags=re.MULTILINE)))


def test_requirements_are_pinned_with_hashes() -> None:
    """What the product asks for is there, each with at least one hash, and pip is told to insist on them."""
    installing = [rest for rest in of("RUN") if re.search(r"\bpip\b.* install ", rest)]
    assert len(installing) == 1
    assert "--require-hashes -r requirements.txt" in installing[0]
    entries = re.sub(r"\\\n\s*", " ", PINNED).splitlines()
    entries = [entry for entry in entries if entry and not entry.lstrip().startswith(("#", "--hash"))]
    assert entries
    assert all(re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    asked = [line for line in (ROOT / "requirements.in").read_text().splitlines() if line and not line.startswith("#")]
    pinned = {canonical(entry.partition("==")[0]) for entry in entries}
    assert {canonical(re.split(r"[=<>]", line)[0]) for line in asked} <= pinned


def test_nft_is_installed() -> None:
    """The one command that the product calls."""
    assert any(re.search(r"apt-get install .*\bnftables\b", rest) for rest in of("RUN"))


def test_the_base_is_a_plain_python_that_the_product_supports() -> None:
    """By digest, so that it cannot change unseen; without a registry's host, which is the builder's own choice."""
    (first, argument), *_ = instructions()
    name, _, default = argument.partition("=")
    assert first == "ARG", "one before any stage is known to each FROM"
    *stages, last = of("FROM")
    assert {stage.partition(" ")[0] for stage in stages} == {f"${{{name}}}"}
    assert last == "scratch"
    assert re.fullmatch(r"python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}", default)
    version = tuple(map(int, default.removeprefix("python:").partition("-")[0].split(".")))
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert version >= tuple(map(int, least.removeprefix(">=").split(".")))


def test_the_base_is_pinned_in_one_place_and_renewed_by_a_command(tmp_path: Path) -> None:
    """`make base` writes the digest that the registry has for the tag: here by a docker that only knows to say it."""
    digest = f"sha256:{'5' * 64}"
    (docker := tmp_path / "docker").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho {digest}\n')
    docker.chmod(0o755)
    for name in ("Makefile", "Dockerfile"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["make", "-C", tmp_path, "base"], env=environment, check=True, capture_output=True)
    [tag] = re.findall(r"^ARG BASE=(.*)@", DOCKERFILE, flags=re.MULTILINE)
    assert (tmp_path / "asked").read_text(encoding="utf-8").split()[-1] == tag
    assert (tmp_path / "Dockerfile").read_text(encoding="utf-8") == re.sub(r"sha256:[0-9a-f]{64}", digest, DOCKERFILE)
    tracked = [*ROOT.glob("docs/*.md"), *ROOT.glob(".ci/*"), *ROOT.glob(".github/*/*"), ROOT / "README.md"]
    pinned = DOCKERFILE.partition("@")[2].split()[0]
    assert [path for path in tracked if pinned in path.read_text(encoding="utf-8")] == []


def test_the_image_has_no_layer_in_which_something_was_removed() -> None:
    """A file that a later layer hides is still sent, kept and readable: the image is copies, without a RUN."""
    assert {name for name, _ in last_stage()} == {"FROM", "COPY", "WORKDIR", "ENV", "ENTRYPOINT", "ARG", "LABEL"}


def test_nothing_of_the_build_is_told_by_the_image() -> None:
    """An argument of its stage is part of the image's history: where packages came from must not be among them."""
    arguments = [rest for name, rest in last_stage() if name == "ARG"]
    assert arguments == ["VERSION", "REVISION", "CREATED"]
    assert not [rest for name, rest in instructions() if name == "ENV" and "PIP_" in rest]


def test_every_builder_of_today_can_read_it() -> None:
    """Docker without BuildKit, and buildah 1.28, know no mounts of RUN, no heredocs and no frontends of others."""
    unknown = r"^\s*#\s*(syntax|escape|check)\s*=|^(RUN|COPY|ADD) .*(--mount|--link|--parents|<<)"
    assert not re.search(unknown, DOCKERFILE, re.M)


def test_no_architecture_is_named() -> None:
    """The same file makes the image for amd64 and arm64."""
    assert not re.search(r"amd64|x86[_-]64|arm64|aarch64|--platform", DOCKERFILE)
