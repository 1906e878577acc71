"""
Each alert of docs/monitoring/alerts.yaml: its cause is planted among whole agents, and by what these tell Prometheus
promtool says that it fires, with no other but those that follow from the same, and ends with its cause.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from floatingip.core.decision import order, pause
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.model import Carry
from floatingip.core.node import Notice
from tests.fakes.ec2 import WALL
from tests.sim.fleet import ADDRESS, Fleet
from tests.sim.line import fails
from tests.sim.prometheus import Prometheus, needs_promtool


class Story:
    """A fleet at peace, and Prometheus, which has watched it for three minutes; some get into ``trouble``."""

    def __init__(self, **options: Any) -> None:
        self.fleet = Fleet(1, **options)
        self.fleet.observers()
        self.holder, self.standby, *_ = self.fleet.workers
        self.prometheus = Prometheus(self.fleet)
        self.goes_on(3)

    def goes_on(self, minutes: float, *firing: str) -> None:
        """So long; at the end these fire, named without what all begin with, and no others."""
        self.prometheus.watch(60 * minutes)
        self.prometheus.expect(*(f"FloatingIP{name}" for name in firing))

    def holder_dies(self) -> None:
        """And comes back, when the standby has the address."""
        dead = self.fleet.serving()
        assert dead is not None
        dead.cut_power()
        self.goes_on(3)
        dead.boot()
        dead.start()
        self.goes_on(3)

    def hand_over(self) -> None:
        """Somebody asks for that."""
        fleet, eni = self.fleet, self.fleet.eni()
        assert eni.attachment is not None
        asked = order.render(eni.attachment.id, order.ANYBODY, WALL + fleet.now + 60)
        fleet.cloud.tag_eni(eni.id, {way_to(fleet.settings.carry).of_one(order.TAG, ADDRESS): asked})


Tell = Callable[..., Story]


@pytest.fixture(name="tell")
def _tell(tmp_path: Path) -> Iterator[Tell]:
    """A story, which is judged at its end."""
    told: list[Story] = []

    def tell(**options: Any) -> Story:
        told.append(Story(**options))
        return told[-1]

    yield tell
    for story in told:
        story.prometheus.judge(tmp_path)


pytestmark = needs_promtool


def test_nobody_holds_it(tell: Tell) -> None:
    """The holder has died, and IAM does not let the only standby attach its interface."""
    story = tell()
    story.standby.cloud.denied.add("AttachNetworkInterface")
    story.holder.cut_power()
    story.goes_on(2, "NoHolder", "Down")
    story.standby.cloud.denied.clear()
    story.goes_on(2)


def test_somebody_else_has_it(tell: Tell) -> None:
    """Its tag is another one's, so nobody may touch it."""
    story = tell()
    eni = story.fleet.eni()
    story.fleet.cloud.tag_eni(eni.id, {OWNER_TAG: "another"})
    story.goes_on(3, "NoHolder", "Down")
    story.fleet.cloud.tag_eni(eni.id, {OWNER_TAG: eni.tags[OWNER_TAG]})
    story.goes_on(3)


def test_its_holders_observer_is_gone(tell: Tell) -> None:
    """Its node serves on, and the standby watches: nobody is woken, and somebody looks in the morning."""
    story = tell()
    story.holder.kill()
    story.goes_on(4)
    story.goes_on(3, "HolderSilent")
    story.holder.start()
    story.goes_on(2)


def test_its_holders_observer_is_gone_while_ec2_does_not_answer(tell: Tell) -> None:
    """The standby could move nothing, but clients are answered: that is for the morning, too."""
    story = tell()
    trouble = story.fleet.at_calls(before=fails)
    story.holder.kill()
    story.goes_on(7, "EC2AnswersOld", "HolderSilent")
    trouble.end()
    story.holder.start()
    story.goes_on(2)


def test_its_holders_observer_is_gone_and_the_standby_could_not_take_it(tell: Tell) -> None:
    """Clients are answered, and would it fail, the standby would see that: nobody is woken."""
    story = tell()
    story.standby.cloud.denied.add("AttachNetworkInterface")
    story.goes_on(13, "Denied", "NoStandby")
    story.holder.kill()
    story.goes_on(7, "Denied", "NoStandby", "StandbyNotReady", "HolderSilent")
    story.standby.cloud.denied.clear()
    story.holder.start()
    story.goes_on(3)


def test_observers_are_restarted_while_ec2_does_not_answer(tell: Tell) -> None:
    """So none of them knows who has it, and nobody would see it fail, though a node serves it."""
    story = tell()
    trouble = story.fleet.at_calls(before=fails)
    for worker in story.fleet.workers:
        worker.kill()
        worker.start()
    story.goes_on(3, "NoHolder")
    story.goes_on(5, "NoHolder", "EC2AnswersOld", "NoStandby")
    trouble.end()
    story.goes_on(2)


def test_two_hold_it(tell: Tell) -> None:
    """The former holder reaches nothing that could tell it that it is none any more; Prometheus reaches it."""
    story = tell(carry=Carry.ADDRESS)
    story.holder.is_imds_silent = True
    story.holder.cut_off()
    story.goes_on(2, "TwoHolders")
    story.holder.is_imds_silent = False
    story.goes_on(1)


def test_two_jobs_scrape_its_holder(tell: Tell) -> None:
    """As where its pod has annotations for another one: that is one holder."""
    story = tell()
    told = f'{{address="{ADDRESS}",instance="{story.holder.name}",job="another"}}'
    story.prometheus.others = {f"floatingip_holder{told}": "1.0", f"floatingip_up{told}": "-1.0"}
    story.goes_on(3)


def test_it_answers_nobody(tell: Tell) -> None:
    """Nor does its holder reach anybody from it; somebody has asked that nothing move now."""
    story = tell()
    fleet = story.fleet
    fleet.cloud.tag_eni(fleet.eni().id, {pause.TAG: str(int(WALL + fleet.now) + 600)})
    story.holder.is_mute = True
    story.goes_on(2, "Down")
    story.holder.is_mute = False
    story.goes_on(1)


def test_its_probes_are_blocked(tell: Tell) -> None:
    """Its holder serves it, as it says to whom its probes are lost: nothing moves, and it can wait for the morning."""
    story = tell()
    story.holder.drops_pings = True
    story.goes_on(4)
    story.goes_on(3, "ProbeBlocked")
    story.holder.drops_pings = False
    story.goes_on(1)


def test_its_probes_are_blocked_and_another_standby_is_not_vouched_to(tell: Tell) -> None:
    """That one hears nothing of its holder: whom should one believe?  In a pause, or that one took it over."""
    story = tell(workers=3)
    fleet = story.fleet
    fleet.cloud.tag_eni(fleet.eni().id, {pause.TAG: str(int(WALL + fleet.now) + 600)})
    story.holder.drops_pings = True
    fleet.cut = {frozenset({story.holder.name, fleet.workers[2].name})}
    story.goes_on(3, "Down")
    fleet.cut = set()
    story.goes_on(1)
    story.holder.drops_pings = False
    story.goes_on(1)


def test_its_holder_does_not_serve_it(tell: Tell) -> None:
    """Nor could the standby, which has tried."""
    story = tell()
    for worker in story.fleet.workers:
        worker.break_kernel("nft is missing", answers=True)
    story.goes_on(4, "HolderNotReady")
    story.goes_on(4, "HolderNotReady", "NoStandby")


def test_no_node_port_answers(tell: Tell) -> None:
    """On no node: the address is well, what it is for is not."""
    story = tell(service="tcp:30080")
    for worker in story.fleet.workers:
        worker.serves = False
    story.goes_on(2, "ServiceDown")
    for worker in story.fleet.workers:
        worker.serves = True
    story.goes_on(1)


def test_no_node_port_answers_where_probes_are_blocked(tell: Tell) -> None:
    """Its holder vouches for the address, not for what that is for."""
    story = tell(service="tcp:30080")
    story.holder.drops_pings = True
    for worker in story.fleet.workers:
        worker.serves = False
    story.goes_on(3, "ServiceDown")
    for worker in story.fleet.workers:
        worker.serves = True
    story.goes_on(1)
    story.holder.drops_pings = False
    story.goes_on(1)


def test_a_pause_is_forgotten(tell: Tell) -> None:
    """And the holder dies in it."""
    story = tell()
    fleet = story.fleet
    fleet.cloud.tag_eni(fleet.eni().id, {pause.TAG: str(int(WALL + fleet.now) + 2 * 3600)})
    story.goes_on(35)
    story.goes_on(10, "Paused")
    story.holder.cut_power()
    story.goes_on(6, "Paused", "NoHolder", "Down")
    fleet.cloud.tag_eni(fleet.eni().id, {pause.TAG: ""})
    story.goes_on(3)


def test_clocks_differ(tell: Tell) -> None:
    """One is a minute fast."""
    story = tell()
    story.standby.wall_ahead = 60.0
    story.goes_on(7, "ClocksDiffer")
    story.standby.wall_ahead = 0.0
    story.goes_on(1)


def test_there_is_no_standby(tell: Tell) -> None:
    """Its observer is gone."""
    story = tell()
    story.standby.kill()
    story.goes_on(4)
    story.goes_on(2, "NoStandby", "SurvivorsShort")
    story.standby.start()
    story.goes_on(1)


def test_one_of_the_standbys_is_not_ready(tell: Tell) -> None:
    """Once that has lasted: the other one is."""
    story = tell(workers=3)
    story.standby.turn_blind("a route leads elsewhere")
    story.goes_on(9)
    story.goes_on(2, "StandbyNotReady")
    story.standby.turn_blind("")
    story.goes_on(1)


def test_iam_denies_what_a_takeover_needs(tell: Tell) -> None:
    """As the next rehearsal shows; so nobody relieves a holder that is leaving either."""
    story = tell()
    story.standby.cloud.denied.add("AttachNetworkInterface")
    story.goes_on(9, "Denied")
    story.goes_on(13, "Denied", "NoStandby", "StandbyNotReady")
    story.holder.notice = Notice("spot", "terminate")
    story.goes_on(3, "Denied", "NoStandby", "StandbyNotReady", "LeavingHolder")
    story.standby.cloud.denied.clear()
    story.goes_on(3)


def test_it_moves_often(tell: Tell) -> None:
    """One holder dies after the other."""
    story = tell()
    story.holder_dies()
    story.holder_dies()
    dead = story.fleet.serving()
    assert dead is not None
    dead.cut_power()
    story.goes_on(4, "MovesOften")


def test_what_was_asked_for_is_no_alarm(tell: Tell) -> None:
    """However often."""
    story = tell()
    for _ in range(4):
        story.hand_over()
        story.goes_on(4)


def test_ec2_does_not_answer(tell: Tell) -> None:
    """For longer than it is ever left in peace."""
    story = tell()
    trouble = story.fleet.at_calls(before=fails)
    story.goes_on(2)
    story.goes_on(4, "EC2AnswersOld")
    trouble.end()
    story.goes_on(2)


def test_imds_does_not_answer(tell: Tell) -> None:
    """On a standby, which would not notice the end of its node."""
    story = tell()
    story.standby.is_imds_silent = True
    story.goes_on(6, "MetadataDown")
    story.standby.is_imds_silent = False
    story.goes_on(1)


def test_nothing_is_scraped(tell: Tell) -> None:
    """All is well, but who would know?"""
    story = tell()
    story.prometheus.unreached.update(story.fleet.workers)
    story.goes_on(6, "NotScraped")
    story.prometheus.unreached.clear()
    story.goes_on(1)


def test_one_of_two_deployments_is_not_scraped_any_more(tell: Tell) -> None:
    """The other one is, so there are such metrics all the time."""
    story = tell()
    other = {'floatingip_build_info{namespace="other",version="0.1.0",instance="x"}': "1"}
    story.prometheus.others = other
    story.goes_on(3)
    story.prometheus.others = {}
    story.goes_on(6, "NotScraped")
    story.prometheus.others = other
    story.goes_on(1)
