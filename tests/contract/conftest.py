"""Each case is run against both worlds."""

from collections.abc import Iterator

import pytest

from floatingip.core import ports
from floatingip.core.ec2 import (
    Subnet,
)
from tests.contract.worlds import Endpoint, Fake, World


@pytest.fixture(params=[Fake, Endpoint])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Each of both."""
    kind: type[Fake] | type[Endpoint] = request.param
    world: World = kind()
    yield world
    world.close()


@pytest.fixture
def cloud(world: World) -> ports.Cloud:
    """EC2 as the product sees it."""
    return world.cloud


@pytest.fixture
def here(cloud: ports.Cloud) -> Subnet:
    """The subnet of the workers."""
    [subnet] = [subnet for subnet in cloud.describe_subnets() if subnet.zone == "us-west-2-lax-1a"]
    return subnet


@pytest.fixture
def elsewhere(cloud: ports.Cloud) -> Subnet:
    """The subnet in the other zone."""
    [subnet] = [subnet for subnet in cloud.describe_subnets() if subnet.zone == "us-west-2-lax-1b"]
    return subnet
