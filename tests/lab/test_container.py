"""A container that something on its way has changed: it ends before EC2 is asked to change anything."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab.network.netns import Namespace
from lab.run.floating import FLOATING_IP
from lab.run.region import Region

pytest_plugins = ["tests.lab.one_worker"]

ROOT = Path(__file__).resolve().parents[2]
BOTH = pytest.mark.parametrize("command", ["attach", "observe"])


def refusal(region: Region, settings: Path, confinement: Sequence[str], command: str) -> tuple[str, list[str]]:
    """What the command says of its end, which has the exit code 6, and what the doctor finds; EC2 was asked nothing but
    by the doctor.
    """
    settings.write_text("port: 20998\n", encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "FLOATING_IP": FLOATING_IP,
        "AWS_ENDPOINT_URL_EC2": region.ec2.endpoint_url,
    }
    [machine] = region.machines.values()
    seen = len(region.history.events("ec2"))
    argv = [*confinement, sys.executable, "-m", "floatingip", command, "--settings", str(settings)]
    process = machine.worker.namespace.popen(
        argv, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 6, said
    calls = [event for event in region.history.events("ec2")[seen:] if event["event"] == "call"]
    assert all(call["action"].startswith("Describe") for call in calls)
    line, *others = said.splitlines()
    begin = f"floatingip {command}: doctor: fail  "
    assert all(other.startswith(begin) for other in others)
    return str(line), [other.removeprefix(begin) for other in others]


@BOTH
@pytest.mark.parametrize(("left", "lacking"), [("+net_raw", "NET_ADMIN"), ("+net_admin", "NET_RAW")])
def test_without_one_of_its_two_rights_it_touches_nothing(
    region: Region, tmp_path: Path, command: str, left: str, lacking: str
) -> None:
    """As where an admission policy takes it away: neither can be done without, and no third one is needed."""
    confinement = ["setpriv", "--no-new-privs", "--inh-caps", "-all", "--bounding-set", f"-all,{left}"]
    said, _ = refusal(region, tmp_path / "settings.yaml", confinement, command)
    assert said == (
        f"floatingip {command}: this container lacks {lacking}; give it user 0 with NET_ADMIN and NET_RAW,"
        " as floating-ip.yaml does; what has changed it on its way?"
    )


POD_NETWORK = """
ip link set lo up
until ip link set pod-net up 2>/dev/null; do sleep 0.02; done
ip address add 192.168.77.2/24 dev pod-net
ip route add default via 192.168.77.1
exec "$@"
"""
"""What is left of a pod whose `hostNetwork` was taken away: a network from which it reaches IMDS and EC2."""


@pytest.fixture(name="pod_network")
def _pod_network(region: Region) -> Iterator[list[str]]:
    """How a command is started in one."""
    [machine] = region.machines.values()
    namespace = machine.worker.namespace
    pod = Namespace(f"{namespace.name}-pod")
    pod.create()
    for command in (
        f"ip link add to-pod type veth peer name pod-net netns {pod.name}",
        "ip address add 192.168.77.1/24 dev to-pod",
        "ip link set to-pod up",
        "nft add table ip pod",
        "nft add chain ip pod out { type nat hook postrouting priority 100; }",
        "nft add rule ip pod out ip saddr 192.168.77.0/24 masquerade",
    ):
        namespace.run(command.split())
    yield ["ip", "netns", "exec", pod.name, "sh", "-c", POD_NETWORK, "sh"]
    namespace.run(["nft", "delete", "table", "ip", "pod"])
    # With its namespace it would go, too, but not at once, and its name is used again.
    namespace.run(["ip", "link", "delete", "to-pod"])
    pod.delete()


@BOTH
def test_without_the_nodes_network_it_touches_nothing(
    region: Region, tmp_path: Path, pod_network: list[str], command: str
) -> None:
    """It would bring the address to a node on which it cannot serve it, or take one off that its predecessor left."""
    said, found = refusal(region, tmp_path / "settings.yaml", pod_network, command)
    assert said.startswith(
        f"floatingip {command}: this container has no link with the MAC of the node's primary interface"
    )
    assert said.endswith(
        "; give the pod `hostNetwork: true`, as floating-ip.yaml does; what has changed it on its way?"
    )
    assert [line.partition(", 02:")[0] for line in found] == (
        ["capabilities: this container has no link with the MAC of the node's primary interface"]
        if command == "attach"
        else []
    ), "nothing that the node's own kernel is blamed for"


def test_commands_in_two_containers_do_not_wait_for_each_other(tmp_path: Path, in_sandbox: None) -> None:
    """Each container has its own PID namespace, and its own memory to run out of."""
    for name, text in {"memory.max": f"{2**30}", "memory.current": "0"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "memory.stat").write_text("inactive_file 0\nactive_file 0\n")
    begin = (
        "import sys; from pathlib import Path; from floatingip.edges import control_group as it;"
        "it.LOADED_AFTER, it.LOADING_AT_MOST = 60.0, 0.2; it.take_room(Path(sys.argv[1])); print('begun', flush=True);"
        "sys.stdin.read()"
    )
    command, pipe = [sys.executable, "-c", begin, str(tmp_path)], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n"
        begun = [
            "begun"
            in subprocess.run([*how, *command], cwd=ROOT, input="", capture_output=True, text=True, check=False).stdout
            for how in ([], ["unshare", "--pid", "--fork", "--mount-proc"])
        ]
        first.communicate("")
    assert begun == [False, True]
