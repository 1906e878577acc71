"""Scenarios on the real Kubernetes, judged by the lab's checker within the same bounds as on the small one beside."""

import pytest

from lab.kubernetes import seen
from lab.kubernetes.cluster import Kind, NotModelled
from lab.run.hardships import HARDSHIPS
from lab.run.kubernetes_scenarios import ALL
from lab.run.ordeals import ORDEALS
from lab.run.play import judge, play
from tests.kubernetes.conftest import Stage

EC2 = "typical"

MOST = {
    "address": ("pod-delete", "observers-killed", "containerd-restarted", "drain", "power-cut"),
    "eni": ("cni-restarted", "api-restarted", "handover", "kernel-hang"),
}
"""Those that tell most, in an order in which a cluster serves as many as possible: the last one breaks it."""

ELSEWHERE = {"announcements-lost", "nft-missing", "icmp-closed", "link-flap", "rules-flushed"} | {
    "address-removed", "eni-detached", "eviction", "claimer-killed", "spot-notice", "asg-notice", "maintenance-notice",
}  # fmt: skip
"""What befalls the network, EC2 or the agents alone, and what the real one has under another name: `drain`."""

ELSEWHERE |= {name for name in ALL if name.startswith(("ec2-", "imds-", "hostile-"))}

OF_NODES = {f"{how}-{seconds}" for how in ("terminate", "stop", "reboot") for seconds in (1, 45)} | {
    "reboot-and-back", "stop-and-start", "out-of-service", "young-observers", "rollout-power-cut",
}  # fmt: skip
"""Those of the hardships in which Kubernetes has a part, and which need nothing from before the deployment."""

ELSEWHERE |= {scenario.name for scenario in (*HARDSHIPS, *ORDEALS)} - OF_NODES

ON_REAL = [(name, carry, True) for carry, names in MOST.items() for name in names]
ON_REAL += [
    (name, carry, False)
    for workers in (2, 3)
    for carry in MOST
    for name, scenario in ALL.items()
    if scenario.workers == workers and name not in ELSEWHERE and name not in MOST[carry]
]
RUNS = [(name, carry, Kind.REAL, most) for name, carry, most in ON_REAL]
RUNS += [(name, carry, Kind.SMALL, False) for name, carry, _ in ON_REAL]
"""Scenario, way to carry, on which Kubernetes, and whether it is one of those that tell most."""


def _param(name: str, carry: str, kind: Kind, most: bool) -> object:
    marks: list[pytest.MarkDecorator] = [pytest.mark.scenario, *([pytest.mark.most] if most else [])]
    return pytest.param(name, carry, kind, marks=marks, id=f"{name}-{carry}-{kind}")


@pytest.mark.parametrize(("name", "carry", "kind"), [_param(*run) for run in RUNS])
def test_scenario_is_survived_on_either_kubernetes(stage: Stage, name: str, carry: str, kind: Kind) -> None:
    """Outage, moves and leftovers are within the scenario's own bounds, and no agent has died."""
    scenario = ALL[name]
    try:
        region = stage.region(
            kind,
            carry=carry,
            workers=scenario.workers,
            ec2=EC2,
            settings=scenario.settings,
            environment=scenario.environment,
            setup=scenario.setup,
            prepare=scenario.prepare,
            ready=scenario.gets_ready,
        )
        since = len(region.history.events())
        expectations = play(region, scenario)
    except NotModelled as error:
        pytest.skip(str(error))
    verdict = judge(region.history.events(), expectations, since)
    outage = verdict.total_outage_s if scenario.clients else None
    seen.keep(name, carry, kind, outage, ok=verdict.ok)
    assert verdict.ok, "\n".join(verdict.faults)
