"""Scenarios on the real Kubernetes, judged by the lab's checker within the same bounds as on the small one."""

from pathlib import Path

import pytest

from lab.kubernetes.cluster import Kind
from lab.run.hardships import HARDSHIPS
from lab.run.kubernetes_scenarios import ALL
from lab.run.scenarios import judge, play
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

OF_NODES = {"terminate-1", "stop-1", "reboot-1", "reboot-and-back", "stop-and-start", "out-of-service"} | {
    "young-observers", "rollout-power-cut",
}  # fmt: skip
"""Those of the hardships in which Kubernetes has a part, and which need nothing from before the deployment."""

ELSEWHERE |= {scenario.name for scenario in HARDSHIPS} - OF_NODES

NOT_YET = {
    "kubelet-hung": "the holder does not see that Kubernetes has written off its node",
    "node-deleted": "the holder does not see that its pods are deleted for good",
    "terminated-slowly": "the holder does not see a shutdown that another pod holds up",
    "registry-gone": "the image is pulled at each start",
}
"""What the product does not survive, and why."""

RUNS = [(name, carry, True) for carry, names in MOST.items() for name in names]
RUNS += [
    (name, carry, False)
    for workers in (2, 3)
    for carry in MOST
    for name, scenario in ALL.items()
    if scenario.workers == workers and name not in ELSEWHERE and name not in MOST[carry]
]


def _param(name: str, carry: str, most: bool) -> object:
    marks: list[pytest.MarkDecorator] = [pytest.mark.scenario, *([pytest.mark.most] if most else [])]
    if name in NOT_YET:
        marks.append(pytest.mark.xfail(reason=NOT_YET[name], raises=(AssertionError, TimeoutError), strict=True))
    return pytest.param(name, carry, marks=marks, id=f"{name}-{carry}")


@pytest.mark.parametrize(("name", "carry"), [_param(*run) for run in RUNS])
def test_scenario_is_survived_on_the_real_kubernetes(stage: Stage, name: str, carry: str, tmp_path: Path) -> None:
    """Outage, moves and leftovers are within the scenario's own bounds, and no agent has died."""
    scenario = ALL[name]
    region = stage.region(
        Kind.REAL,
        carry=carry,
        workers=scenario.workers,
        ec2=EC2,
        settings=scenario.settings,
        environment=scenario.environment,
    )
    since = len(region.history.events())
    expectations = play(region, scenario)
    verdict = judge(region.history.events(), expectations, since)
    print(f"\n{name}, carry {carry}: outage {verdict.outage_s:.2f} s, {verdict.moves} moves")
    assert verdict.ok, "\n".join(verdict.faults)
