"""The other programs of docs/install.md that cannot run here, such as Docker, or cannot fail, as envsubst."""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from tests.guide.cluster import Cluster
from tests.guide.desk import Call, Refused, parse
from tests.guide.shell import python_for
from tests.packaging.substitution import envsubst


@dataclass
class Docker:
    """Builds from the folder, and pushes to ECR."""

    cluster: Cluster
    logged_in: str = ""
    built: set[str] = field(default_factory=set)

    def __call__(self, call: Call) -> str:
        """Do what the command line says.  Raises Refused."""
        match call.words:
            case ["login", *rest]:
                [registry], options = parse(rest, needs=["--username"], flags=["--password-stdin"], positional=1)
                if options["--username"] != "AWS" or not call.stdin.strip():
                    raise Refused("no password")
                self.logged_in = registry
            case ["build", *rest]:
                [folder], options = parse(rest, needs=["--platform", "--tag"], positional=1)
                if not Path(call.folder, folder, "Dockerfile").is_file():
                    raise Refused(f"no Dockerfile in {folder}")
                self.built.add(options["--tag"])
            case ["push", *rest]:
                [image], _ = parse(rest, positional=1)
                self._push(image)
            case _:
                raise Refused(f"unknown command {call.words}")
        return ""

    def _push(self, image: str) -> None:
        repositories = self.cluster.client("ecr").describe_repositories()["repositories"]
        name = image.rpartition(":")[0]
        if image not in self.built or not image.startswith(f"{self.logged_in}/"):
            raise Refused(f"{image} is not built, or its registry wants a login: {self.logged_in}")
        if name not in [repository["repositoryUri"] for repository in repositories]:
            raise Refused(f"name unknown: the repository {name} does not exist")
        if image in self.cluster.images:
            raise Refused(f"tag invalid: {image} already exists and cannot be overwritten")
        self.cluster.images.add(image)


@dataclass
class Curl:
    """A client of the address; after its second answer somebody has enough, by Ctrl-C."""

    cluster: Cluster
    answers: int = 0

    def __call__(self, call: Call) -> str:
        """Answer in the place of the sample service.  Raises Refused."""
        [url], _ = parse(call.words, needs=["--connect-timeout"], positional=1)
        address = url.removeprefix("http://").removesuffix(":30007/hostname")
        if ip_address(address) != ip_address(self.cluster.interface()["PrivateIpAddress"]):
            raise Refused(f"Could not connect to server: {url}", 7)
        self.answers += 1
        if self.answers > 2:
            raise Refused("", 130)
        return "sample-service-5c9f8d7b6-x2v4z"


def sleep(call: Call) -> str:
    parse(call.words, positional=1)
    return ""


def substitute(call: Call) -> str:
    """The real envsubst makes nothing of what is not set, without a word.  Raises Refused."""
    empty = {name for name in re.findall(r"\$\{(\w+)\}", call.stdin) if not call.environment.get(name)}
    if empty or call.words:
        raise Refused(f"not set, or not exported: {empty or call.words}")
    return envsubst(call.stdin, call.environment)


def make_environment(call: Call) -> str:
    """Only `python3 -m venv .venv`.  Raises Refused."""
    if call.words != ["-m", "venv", ".venv"]:
        raise Refused(f"not done here: {call.words}")
    python_for(Path(call.folder), pip=Path(call.program).with_name("pip"))
    return ""


def pip(call: Call) -> str:
    """It finds the packages installed, when they are named with their hashes.  Raises Refused."""
    install, *rest = call.words
    _, options = parse(rest, needs=["-r"], flags=["--require-hashes"])
    if install != "install" or "--hash=sha256:" not in Path(call.folder, options["-r"]).read_text(encoding="utf-8"):
        raise Refused(f"no hashes: {call.words}")
    return ""
