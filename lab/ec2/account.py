"""What all rules of one AWS account have in common."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.ec2.models import EC2Backend

from lab.ec2.devices import Devices
from lab.ec2.profiles import Profile

Record = Callable[[dict[str, Any]], None]
"""Takes one event of the history; called from many threads."""


@dataclass(frozen=True)
class Account:
    """
    One account of one endpoint.  Its fields never change, only what moto's backend stores.

    `after(delay, action)` performs the action under the endpoint's lock, `delay` seconds later; at once if `delay` is
    zero.
    """

    id: str
    region: str
    backend: EC2Backend
    profile: Profile
    devices: Devices
    record: Record
    after: Callable[[float, Callable[[], None]], None]
    rng: random.Random

    def tell(self, event: str, **more: object) -> None:
        """Record that something has happened now."""
        self.record({"t": time.time(), "source": "ec2", "event": event, **more})
