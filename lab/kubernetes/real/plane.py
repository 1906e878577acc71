"""
The control plane, and what is beside it in a Region: etcd, API server, controller manager, scheduler, and a registry.

All of it runs in the VPC's namespace, as EC2 does.  Flags are a release's defaults, unless a comment says why not.
"""

import base64
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.kubernetes.authority import Authority, new_key, pem_of, public_pem_of
from lab.kubernetes.cluster import API_ADDRESS, API_PORT
from lab.kubernetes.real.parts import Part, PartFailed
from lab.network.netns import Namespace

REGISTRY_ADDRESS = "10.0.255.4:80"
"""The address of ECR's endpoint in the VPC."""
SERVICES = "172.20.0.0/16"
"""Addresses of Services: EKS takes these in a VPC of 10.0.0.0/8."""
API_SERVICE = "172.20.0.1"
ECR = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
UPSTREAM = "registry.k8s.io"

NOT_READY_AFTER = 40
"""Seconds after a kubelet's last report; since 1.32 a release's own default is 50."""

UP_WITHIN = 90.0
"""Seconds that the API server may take to start."""


class ControlPlane:
    """
    A cluster without workers; nothing runs before `start()`.

    folder: gets its keys and data.  logs: gets a file for each part.
    """

    def __init__(self, namespace: Namespace, binaries: Path, folder: Path, logs: Path) -> None:
        self._namespace = namespace
        self._binaries = binaries
        self._folder = folder
        self._logs = logs
        self.authority = Authority()
        self.parts: dict[str, Part] = {}
        self._admin = ""

    def start(self) -> None:
        """Start all of it; returns when the API server is ready.  Raises PartFailed, CommandFailed."""
        self.serve()
        # Started too early they end, since they may not read yet what the API server makes for them.
        for name in ("kube-controller-manager", "kube-scheduler"):
            self.parts[name].start()

    def serve(self) -> None:
        """Start all but the controllers; returns when the API server is ready.  Raises PartFailed, CommandFailed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for address in (API_ADDRESS, REGISTRY_ADDRESS.partition(":")[0]):
            self._namespace.ip(f"address add {address}/32 dev lo")
        self._admin = self._write("admin.kubeconfig", self.kubeconfig("admin", "system:masters"))
        for name, command in self._commands().items():
            binary, *arguments = command
            argv = self._namespace.argv([str(self._binaries / binary), *arguments])
            self.parts[name] = Part(name, argv, self._logs / f"{name}.log", {"GOMEMLIMIT": "2GiB"})
        for name in ("registry", "etcd", "kube-apiserver"):
            self.parts[name].start()
        deadline = time.monotonic() + UP_WITHIN
        while not self._is_ready():
            for name in ("etcd", "kube-apiserver"):
                if not self.parts[name].alive:
                    raise PartFailed(f"{name} has ended: {self.parts[name].last_words()}")
            if time.monotonic() > deadline:
                raise PartFailed(f"the API server is not ready after {UP_WITHIN:g} s")
            time.sleep(0.1)

    def stop(self) -> None:
        """End all of it at once.  Idempotent."""
        for part in reversed(self.parts.values()):
            part.kill()

    def kubectl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the real kubectl as the cluster's administrator."""
        return subprocess.run(
            self.kubectl_command(*arguments), input=stdin, capture_output=True, text=True, check=False
        )

    def kubectl_command(self, *arguments: str) -> list[str]:
        """The command line of that kubectl."""
        return self._namespace.argv([str(self._binaries / "kubectl"), f"--kubeconfig={self._admin}", *arguments])

    def push(self, image: str, layout: Path, environment: Mapping[str, str]) -> None:
        """Push the image of an OCI layout to ECR as `image`, with further variables.  Raises CommandFailed."""
        pairs = [f"{name}={value}" for name, value in environment.items()]
        self._registry("push", f"{REGISTRY_ADDRESS}/{image}", str(layout), *pairs)

    def pack(self, image: str, binary: str) -> None:
        """Push one of the binaries to the upstream registry as `image`.  Raises CommandFailed."""
        self._registry("pack", f"{REGISTRY_ADDRESS}/{image}", str(self._binaries / binary))

    def _registry(self, *arguments: str) -> None:
        self._namespace.run([str(self._binaries / "registry"), *arguments])

    def kubeconfig(self, user: str, *groups: str) -> str:
        """The kubeconfig by which a client is this user, in these groups."""
        certificate, key = self.authority.issue(user, groups=groups)
        cluster = {"server": f"https://{API_ADDRESS}:{API_PORT}", "certificate-authority-data": _encoded(self._ca)}
        identity = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "lab", "cluster": cluster}],
                "users": [{"name": user, "user": identity}],
                "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
                "current-context": "lab",
            }
        )

    @property
    def _ca(self) -> str:
        return self.authority.certificate

    def _commands(self) -> dict[str, Sequence[str]]:
        ca = self._write("ca.crt", self._ca)
        serving = self.authority.issue(
            "kube-apiserver",
            addresses=(API_ADDRESS, API_SERVICE, "127.0.0.1"),
            names=("kubernetes", "kubernetes.default", "kubernetes.default.svc"),
        )
        to_kubelet = self.authority.issue("kube-apiserver", groups=("system:masters",))
        accounts = new_key()
        certificate, key = self._write("apiserver.crt", serving[0]), self._write("apiserver.key", serving[1])
        client, client_key = self._write("client.crt", to_kubelet[0]), self._write("client.key", to_kubelet[1])
        account_key = self._write("accounts.key", pem_of(accounts))
        account_public = self._write("accounts.pub", public_pem_of(accounts))
        manager = self._write("manager.kubeconfig", self.kubeconfig("system:kube-controller-manager"))
        scheduler = self._write("scheduler.kubeconfig", self.kubeconfig("system:kube-scheduler"))
        return {
            "registry": ("registry", "serve", REGISTRY_ADDRESS),
            "etcd": (
                "etcd",
                f"--data-dir={self._folder / 'etcd'}",
                "--unsafe-no-fsync",  # the data is in memory anyway
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
            ),
            "kube-apiserver": (
                "kube-apiserver",
                "--etcd-servers=http://127.0.0.1:2379",
                f"--service-cluster-ip-range={SERVICES}",
                f"--bind-address={API_ADDRESS}",
                f"--advertise-address={API_ADDRESS}",
                f"--secure-port={API_PORT}",
                f"--client-ca-file={ca}",
                f"--tls-cert-file={certificate}",
                f"--tls-private-key-file={key}",
                f"--kubelet-client-certificate={client}",
                f"--kubelet-client-key={client_key}",
                # Nothing in the lab has a DNS name.
                "--kubelet-preferred-address-types=InternalIP",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={account_public}",
                f"--service-account-signing-key-file={account_key}",
            ),
            "kube-controller-manager": (
                "kube-controller-manager",
                f"--kubeconfig={manager}",
                f"--authentication-kubeconfig={manager}",
                f"--authorization-kubeconfig={manager}",
                "--bind-address=127.0.0.1",
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={account_key}",
                f"--root-ca-file={ca}",
                f"--node-monitor-grace-period={NOT_READY_AFTER}s",
            ),
            "kube-scheduler": (
                "kube-scheduler",
                f"--kubeconfig={scheduler}",
                f"--authentication-kubeconfig={scheduler}",
                f"--authorization-kubeconfig={scheduler}",
                "--bind-address=127.0.0.1",
                "--leader-elect=false",
            ),
        }

    def _write(self, name: str, text: str) -> str:
        file = self._folder / name
        file.touch(mode=0o600)
        file.write_text(text, encoding="utf-8")
        return str(file)

    def _is_ready(self) -> bool:
        done = self.kubectl("get", "--raw=/readyz")
        return done.returncode == 0


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
