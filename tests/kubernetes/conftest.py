"""The lab on the real Kubernetes, and beside it the small one: `make test-kubernetes`."""

import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from floatingip.core.decision import ration
from lab import sandbox
from lab.ec2 import PROFILES, Guest
from lab.history import History
from lab.kubernetes.cluster import DOCUMENTED, OBSERVERS, SAMPLE, ClusterFailed, Kind, Setup
from lab.kubernetes.real import host
from lab.run.region import Region

# Outside of the gate, it has a target of its own.
collect_ignore = ["test_versions.py"]
collect_ignore += [] if host.is_given() else ["test_scenarios.py", "test_real.py", "test_setups.py"]
# It starts labs of its own, which a sandbox is no place for.
collect_ignore += ["test_host.py"] if sandbox.inside() else []

KINDS = [Kind.REAL if host.is_given() else Kind.SMALL]
"""Which of them a contract is tried on: the small one by `make test`, the real one by `make test-kubernetes`."""

RESTORED_WITHIN = 120.0


class Stage:
    """One region at a time, with a deployment that is ready: it serves as many tests as can do with it."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._region: Region | None = None
        self._history: History | None = None

    def region(
        self,
        kubernetes: Kind,
        *,
        carry: str = "address",
        workers: int = 2,
        ec2: str = "instant",
        settings: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        setup: Setup = DOCUMENTED,
        instance_type: str | None = None,
        prepare: Callable[[Region], None] | None = None,
        ready: bool = True,
    ) -> Region:
        """
        A region like that, as good as new.

        prepare: done before anything is deployed.  ready: whether the deployment can get so.
        """
        settings, environment = dict(settings or {}), dict(environment or {})
        key = kubernetes, carry, workers, ec2, settings, environment, setup, instance_type
        can_serve = self._key == key and ready and prepare is None
        if self._region is not None and can_serve and self._is_well() and self._is_restored():
            return self._region
        self.close()
        self._key = key
        self._history = History()
        region = Region(
            PROFILES[ec2],
            self._history,
            workers=workers,
            settings={"carry": carry, **settings},
            environment=environment,
            kubernetes=kubernetes,
            setup=setup,
            instance_type=instance_type,
        )
        region.__enter__()
        self._region = region
        if prepare is not None:
            prepare(region)
        region.deploy(ready=ready)
        return region

    def _is_well(self) -> bool:
        assert self._region
        fabric, machines = self._region.fabric, self._region.machines.values()
        if any(machine.guest is not Guest.RUNNING for machine in machines):
            return False
        # Kubernetes learns of these only after a while.
        if any(fabric.is_silent(fabric.plugged(machine.worker.namespace)) for machine in machines):
            return False
        try:
            # A holder without an observer, as after a cordon, is what no deployment begins with.
            self._region.cluster.pod_on(self._region.holder().name)
            return all(self._region.cluster.conditions(name)["Ready"] == "True" for name in self._region.machines)
        except LookupError:
            return False

    def _is_restored(self) -> bool:
        try:
            self._restore()
        except (ClusterFailed, TimeoutError):
            return False
        return True

    def _restore(self) -> None:
        assert self._region
        cluster = self._region.cluster
        for name in self._region.machines:
            cluster.uncordon(name)
            cluster.untaint(name)
        cluster.scale(OBSERVERS, 2)
        wanted = set(self._region.machines)
        if self._region.kubernetes is Kind.REAL and {pod.node for pod in cluster.pods(SAMPLE)} != wanted:
            # What was drained comes back somewhere: only all together are they spread anew.
            cluster.scale(SAMPLE, 0)
            while cluster.pods(SAMPLE):
                time.sleep(0.1)
            cluster.scale(SAMPLE, len(wanted))
        cluster.wait_ready(RESTORED_WITHIN)
        self._forget_moves()

    def _forget_moves(self) -> None:
        """What was moved in the scenario before must not make this one's move wait (R12)."""
        assert self._region
        administrator = self._region.administrator
        for interface in administrator.describe_network_interfaces()["NetworkInterfaces"]:
            moves = [tag["Key"] for tag in interface["TagSet"] if tag["Key"].startswith(ration.TAG)]
            if moves:
                administrator.delete_tags(
                    Resources=[interface["NetworkInterfaceId"]], Tags=[{"Key": key} for key in moves]
                )

    def close(self) -> None:
        if self._region is not None:
            self._region.close()
            self._region = None
        if self._history is not None:
            self._history.close()
            self._history = None


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """The one of these tests: others, that follow in the same process, make namespaces of the same names."""
    stage = Stage()
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture(params=KINDS, scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    """First one, then the other: each is built once."""
    return Kind(request.param)


@pytest.fixture
def region(kind: Kind, stage: Stage) -> Region:
    """A region with two observers that are ready."""
    return stage.region(kind)
