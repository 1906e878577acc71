"""
One worker of the real Kubernetes: a machine of its own (boot.py) with containerd, kubelet, kube-proxy and the VPC CNI.

The configuration is that of EKS' own images (Amazon Linux 2023), unless a comment says why not.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from lab.ec2 import Instance
from lab.kubernetes.real.host import Groups
from lab.kubernetes.real.parts import Part, PartFailed
from lab.kubernetes.real.plane import ECR, REGISTRY_ADDRESS, UPSTREAM, ControlPlane
from lab.network.fabric import MTU
from lab.network.netns import Namespace

BOOT = Path(__file__).with_name("boot.py")
LOGIND = Path(__file__).with_name("logind.py")
BUS = "unix:path=/run/dbus/system_bus_socket"
PAUSE = f"{UPSTREAM}/pause:3.10"

SHUTDOWN_TAKES, CRITICAL_PODS_TAKE = 150, 30
"""Seconds that a shutdown waits for pods to end, and how many of these are for critical pods."""

CNI_WITHIN = 60.0
"""Seconds within which the VPC CNI's ipamd must have its addresses."""

PLUGINS = {
    "aws-cni": "/opt/bin/aws-cni",
    **{name: f"/usr/lib/cni/{name}" for name in ("loopback", "portmap", "host-local")},
}

_BOUND = (
    "/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
    "/etc/protocols", "/etc/services",
)  # fmt: skip

_CONTAINERD = f"""
version = 3
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{PAUSE}"
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "/etc/containerd/certs.d"
[plugins.'io.containerd.cri.v1.runtime']
  # Neither does the lab's root have CAP_SYS_RESOURCE everywhere, nor the machine's AppArmor its profile.
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false
"""

_HOSTS = f"""
server = "http://{REGISTRY_ADDRESS}"
[host."http://{REGISTRY_ADDRESS}"]
  capabilities = ["pull", "resolve"]
"""

_DBUS = f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>{BUS}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="false"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/>
  </policy>
</busconfig>
"""

_CNI = {
    "cniVersion": "0.4.0",
    "name": "aws-cni",
    "disableCheck": True,
    "plugins": [
        {
            "name": "aws-cni",
            "type": "aws-cni",
            "vethPrefix": "eni",
            "mtu": str(MTU),
            "podSGEnforcingMode": "strict",
            "pluginLogFile": "/var/log/aws-routed-eni/plugin.log",
            "pluginLogLevel": "DEBUG",
            "capabilities": {"io.kubernetes.cri.pod-annotations": True},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ],
}
"""misc/10-aws.conflist of the VPC CNI, without IPv6's egress plugin, which is off by default."""


class Worker(Protocol):
    """What a node needs of the lab's worker."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> str:
        """Its primary address."""

    @property
    def namespace(self) -> Namespace:
        """Its network."""


class Node:
    """
    A worker's machine; nothing exists before `boot()`.

    labels: the node's.  cni: variables of the VPC CNI, such as MAX_ENI.  credentials: the AWS SDK's variables for it.
    proxy: those fields of kube-proxy's configuration that are not as on EKS.  closing: once it is set, a node that is
    booting gives up.
    """

    def __init__(
        self,
        worker: Worker,
        instance: Instance,
        plane: ControlPlane,
        groups: Groups,
        binaries: Path,
        folder: Path,
        logs: Path,
        *,
        labels: Mapping[str, str],
        cni: Mapping[str, str],
        credentials: Mapping[str, str],
        proxy: Mapping[str, object],
        closing: threading.Event,
    ) -> None:
        self.name = worker.name
        self.parts: dict[str, Part] = {}
        self.root: int | None = None
        """A handle on its root directory, which outlasts its power."""
        self._worker = worker
        self._instance = instance
        self._plane = plane
        self._groups = groups
        self._binaries = binaries
        self._folder = folder
        self._logs = logs
        self._labels = labels
        self._cni = cni
        self._credentials = credentials
        self._proxy = proxy
        self._closing = closing
        self._supply: subprocess.Popen[str] | None = None
        self._init = 0

    # Life.

    def boot(self) -> None:
        """Make the machine and start its parts; it is ready a few seconds later.  Raises PartFailed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._init = 0
        spec = {
            "root": str(self._folder),
            "groups": [str(group) for group in self._groups.of_machine(self.name)],
            "cgroup": self._groups.mounts,
            "netns": str(self._worker.namespace.path),
            "name": self.name,
            "bind": {"/opt/bin": str(self._binaries), **{name: name for name in _BOUND}},
            "files": self._files(),
            "init": ["/opt/bin/pause"],
        }
        with (self._logs / f"{self.name}-boot.log").open("ab") as log:
            self._supply = subprocess.Popen(
                [sys.executable, "-I", "-S", str(BOOT), json.dumps(spec)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._supply.stdout
        line = self._supply.stdout.readline()
        if not line:
            raise PartFailed(f"{self.name} did not boot: {(self._logs / f'{self.name}-boot.log').read_text().strip()}")
        self._init = int(line)
        self.root = os.open(f"/proc/{self._init}/root", os.O_PATH | os.O_DIRECTORY)
        self.path("opt/cni/bin").mkdir(parents=True)
        for plugin, place in PLUGINS.items():
            self.path("opt/cni/bin", plugin).symlink_to(place)
        for name, (command, environment) in self._commands().items():
            self.parts[name] = Part(
                f"{name} of {self.name}",
                self.command(*command),
                self._logs / f"{self.name}-{name}.log",
                environment,
                entered=True,
            )
        for name in ("dbus", "containerd", "kube-proxy"):
            self.parts[name].start()
        self._await("dbus", lambda: self.path("run/dbus/system_bus_socket").exists())
        self.parts["logind"].start()
        self._await("containerd", lambda: self.path("run/containerd/containerd.sock").exists())
        self.parts["kubelet"].start()
        threading.Thread(target=self._configure_network, name=f"{self.name}-cni", daemon=True).start()

    def power_off(self) -> None:
        """End every process of the machine at once.  Idempotent."""
        if self._supply is not None and self._supply.poll() is None:
            # With control groups of version 1, frozen processes take no signal before they are thawed.
            with suppress(ProcessLookupError):
                os.kill(self._init or self._supply.pid, signal.SIGKILL)
            self.freeze(frozen=False)
            for part in self.parts.values():
                part.wake()  # a stopped `nsenter` does not see its child end, for which the kernel waits
            self._supply.wait()
        for part in self.parts.values():
            part.wait()

    def close(self) -> None:
        """As `power_off`, and forget its disk.  Idempotent."""
        self.power_off()
        if self._supply is not None and self._supply.stdout:
            self._supply.stdout.close()
        if self.root is not None:
            os.close(self.root)
            self.root = None

    def freeze(self, *, frozen: bool) -> None:
        """Stop all processes of the machine, or let them go on."""
        self._groups.freeze(self.name, frozen=frozen)

    def shut_down(self) -> None:
        """Press the power button, and wait until the machine would be off; it is for the caller to power it off."""
        logind = self.parts["logind"]
        logind.signal(signal.SIGUSR1)
        logind.wait(SHUTDOWN_TAKES + 30)

    # What runs in it.

    def command(self, *command: str) -> list[str]:
        """The command line that runs `command` on this machine."""
        enter = [f"--{kind}" for kind in ("mount", "uts", "ipc", "net", "pid", "cgroup")]
        join = "".join(
            f"echo $$ > {self._leaf(group)}/cgroup.procs && " for group in self._groups.of_machine(self.name)
        )
        return ["/bin/sh", "-c", f'{join} exec nsenter --target {self._init} {" ".join(enter)} -- "$@"', "sh", *command]

    def _leaf(self, group: Path) -> Path:
        return group / "system" if self._groups.unified else group

    def path(self, *parts: str) -> Path:
        """A file of its disk, as the lab sees it."""
        return Path(f"/proc/self/fd/{self.root}", *parts)

    def _await(self, part: str, condition: Callable[[], bool], within: float = 30.0) -> None:
        deadline = time.monotonic() + within
        while not condition():
            if not self.parts[part].alive or time.monotonic() > deadline:
                raise PartFailed(f"{part} of {self.name} did not start: {self.parts[part].last_words()}")
            if self._closing.wait(0.02):
                raise PartFailed(f"{part} of {self.name} is no longer waited for")

    def _configure_network(self) -> None:
        """
        As the DaemonSet aws-node does: start ipamd once the node is registered, and again if it ends; once it is ready,
        write the plugin's configuration.
        """
        ipamd, deadline = self.parts["aws-node"], time.monotonic() + CNI_WITHIN
        while self._plane.kubectl("get", "node", self.name).returncode and time.monotonic() < deadline:
            if self._closing.wait(0.2):
                return
        while time.monotonic() < deadline and self._supply is not None and self._supply.poll() is None:
            ipamd.start()
            with suppress(OSError):
                if self.path("run/aws-node/ipamd.sock").exists():
                    place = self.path("etc/cni/net.d")
                    place.mkdir(parents=True, exist_ok=True)
                    (place / ".10-aws.conflist").write_text(json.dumps(_CNI), encoding="utf-8")
                    (place / ".10-aws.conflist").rename(place / "10-aws.conflist")
                    return
            time.sleep(0.1)

    def _commands(self) -> dict[str, tuple[tuple[str, ...], dict[str, str]]]:
        kubeconfig = "/etc/kubernetes/kubelet.kubeconfig"
        labels = ",".join(f"{name}={value}" for name, value in self._labels.items())
        return {
            "dbus": (("dbus-daemon", "--config-file=/etc/lab/dbus.conf", "--nofork", "--nopidfile"), {}),
            "logind": (("/usr/bin/python3", "/etc/lab/logind.py"), {"DBUS_SYSTEM_BUS_ADDRESS": BUS}),
            "containerd": (("containerd", "--config=/etc/containerd/config.toml"), {}),
            "kubelet": (
                (
                    "kubelet",
                    "--config=/etc/kubernetes/kubelet.json",
                    f"--kubeconfig={kubeconfig}",
                    f"--hostname-override={self.name}",
                    f"--node-ip={self._worker.address}",
                    f"--node-labels={labels}",
                ),
                {"DBUS_SYSTEM_BUS_ADDRESS": BUS},
            ),
            "kube-proxy": (("kube-proxy", "--config=/etc/kubernetes/proxy.json"), {}),
            "aws-node": (
                ("aws-k8s-agent",),
                {
                    "MY_NODE_NAME": self.name,
                    "CLUSTER_NAME": "lab",
                    "AWS_REGION": self._instance.region,
                    "KUBECONFIG": "/etc/kubernetes/aws-node.kubeconfig",
                    "ENABLE_IPv4": "true",
                    "AWS_VPC_K8S_CNI_LOG_FILE": "stdout",
                    "AWS_VPC_K8S_CNI_LOGLEVEL": "DEBUG",
                    "AWS_VPC_K8S_CNI_VETHPREFIX": "eni",
                    "AWS_VPC_ENI_MTU": str(MTU),
                    **self._cni,
                    **self._credentials,
                },
            ),
        }

    def _files(self) -> dict[str, str]:
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": "/etc/kubernetes/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "clusterDNS": ["172.20.0.10"],
            "clusterDomain": "cluster.local",
            "providerID": f"aws:///{self._instance.zone}/{self._instance.instance_id}",
            "shutdownGracePeriod": f"{SHUTDOWN_TAKES}s",
            "shutdownGracePeriodCriticalPods": f"{CRITICAL_PODS_TAKE}s",
            # On EKS control groups are systemd's, of version 2, and there is no swap.
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "oomScoreAdj": 0,
            # All workers share this host: how full its disk is says nothing of a node.
            "localStorageCapacityIsolation": False,
            "evictionHard": dict.fromkeys(
                ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%"
            ),
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
        }
        proxy = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": "/etc/kubernetes/kube-proxy.kubeconfig"},
            "hostnameOverride": self.name,
            "mode": "iptables",
            "clusterCIDR": "",
            "oomScoreAdj": 0,
            # The table of connections is the host's, so a worker must not set its size.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            **self._proxy,
        }
        return {
            "/etc/hostname": f"{self.name}\n",
            "/etc/hosts": f"127.0.0.1 localhost\n{self._worker.address} {self.name}\n",
            # The VPC's resolver, where nothing answers: nothing in the lab has a DNS name.
            "/etc/resolv.conf": "nameserver 10.0.0.2\n",
            "/etc/machine-id": f"{self._instance.instance_id.removeprefix('i-').ljust(32, '0')[:32]}\n",
            "/etc/lab/dbus.conf": _DBUS,
            "/etc/lab/logind.py": LOGIND.read_text(encoding="utf-8"),
            "/etc/containerd/config.toml": _CONTAINERD,
            **{f"/etc/containerd/certs.d/{host}/hosts.toml": _HOSTS for host in (ECR, UPSTREAM)},
            "/etc/kubernetes/ca.crt": self._plane.authority.certificate,
            "/etc/kubernetes/kubelet.json": json.dumps(kubelet),
            "/etc/kubernetes/proxy.json": json.dumps(proxy),
            "/etc/kubernetes/kubelet.kubeconfig": self._plane.kubeconfig(f"system:node:{self.name}", "system:nodes"),
            "/etc/kubernetes/kube-proxy.kubeconfig": self._plane.kubeconfig("system:kube-proxy"),
            "/etc/kubernetes/aws-node.kubeconfig": self._plane.kubeconfig("aws-node", "system:masters"),
            "/run/dbus/.keep": "",
            "/run/aws-node/.keep": "",
            "/var/log/aws-routed-eni/.keep": "",
        }
