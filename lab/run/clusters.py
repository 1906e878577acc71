"""Either Kubernetes, started on a region's machines."""

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from lab.ec2 import Ec2, Guest
from lab.history import History
from lab.kubernetes.cluster import API_ADDRESS, API_PORT, NotModelled, Setup
from lab.kubernetes.real.cluster import Cluster as RealCluster
from lab.kubernetes.small.apiserver import ApiServer
from lab.kubernetes.small.cluster import Cluster as SmallCluster
from lab.kubernetes.small.image import given
from lab.kubernetes.small.objects import Service
from lab.network.fabric import Fabric
from lab.run.machine import Machine, Machines

API_WITHIN = 2.0
"""Seconds for which a kubelet tries to reach the API server."""

LABELS = {"floatingip": "true"}
"""The labels of each worker."""


@dataclass(frozen=True)
class Clusters:
    """
    Starts clusters; `resources` end them.

    environment: added to the manifest's environment in every pod.
    """

    fabric: Fabric
    ec2: Ec2
    machines: Machines
    history: History
    environment: Mapping[str, str]
    seed: int
    resources: ExitStack

    def small(self, setup: Setup, service: Service, changed: Callable[[], None]) -> tuple[SmallCluster, ApiServer]:
        """
        The small Kubernetes on all machines, with an API server and one service; `changed` is called when a node has
        become ready or has ceased to be.  Raises NotModelled.
        """
        if setup.proxy or setup.cni is not None:
            raise NotModelled("the small Kubernetes has neither kube-proxy's configuration nor the VPC CNI's")
        cluster = SmallCluster(
            [machine.worker for machine in self.machines.values()],
            self.history,
            image=given(),
            extra_env=self.environment,
            labels=dict.fromkeys(self.machines, LABELS),
            seed=self.seed,
            reaches=self._reaches_api,
            readiness=lambda _node, _ready: changed(),
            services={service.name: service},
        )
        self.fabric.vpc.ip(f"address add {API_ADDRESS}/32 dev lo")
        listener = self.resources.enter_context(self.fabric.vpc.listen(API_ADDRESS, API_PORT))
        api = ApiServer(listener, cluster)
        self.resources.callback(api.stop)
        cluster.use(api)
        self.resources.callback(self._end, cluster)
        return cluster, api

    def another(self, machines: Sequence[Machine]) -> SmallCluster:
        """A second small Kubernetes, of these machines only, without an API server."""
        cluster = SmallCluster(
            [machine.worker for machine in machines],
            self.history,
            image=given(),
            extra_env=self.environment,
            labels={machine.name: LABELS for machine in machines},
            seed=self.seed,
        )
        self.resources.callback(cluster.stop_all, grace=1.0)
        return cluster

    def real(self, setup: Setup, image: str) -> RealCluster:
        """The real Kubernetes on all machines; `image` is the image name in the manifest."""
        return self.resources.enter_context(
            RealCluster(
                self.fabric.vpc,
                [(machine.worker, machine.instance) for machine in self.machines.values()],
                self.history,
                image=image,
                environment=self.environment,
                credentials=self._cni_credentials,
                labels=LABELS,
                setup=setup,
            )
        )

    def _reaches_api(self, node: str) -> bool:
        """Whether the worker can connect to the API server over its own network."""

        def connect() -> None:
            socket.create_connection((API_ADDRESS, API_PORT), timeout=API_WITHIN).close()

        try:
            self.machines[node].worker.namespace.call(connect)
        except OSError:
            return False
        return True

    def _cni_credentials(self, node: str) -> dict[str, str]:
        """The VPC CNI has a role of its own, which allows what it needs: here, everything."""
        caller = f"vpc-cni {node}"
        self.ec2.client(caller)
        keys = self.ec2.credentials(caller)
        return {
            "AWS_ENDPOINT_URL_EC2": self.ec2.endpoint_url,
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["Token"],
        }

    def _end(self, cluster: SmallCluster) -> None:
        for machine in self.machines.values():
            if machine.guest is Guest.HUNG:
                cluster.kill_node(machine.name)
        cluster.stop_all(grace=1.0)
