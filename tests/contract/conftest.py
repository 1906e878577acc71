"""Each case is run against both worlds."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from floatingip.core import ports
from floatingip.core.ec2 import Subnet
from floatingip.core.errors import CloudError
from tests.contract.worlds import Endpoint, Fake, World


@contextmanager
def bad_input() -> Iterator[None]:
    """It is refused for good: that is no race, so it is not LookAgain."""
    with pytest.raises(CloudError) as caught:
        yield
    assert type(caught.value) is CloudError


@pytest.fixture(params=[Fake, Endpoint])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
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
    [subnet] = [subnet for subnet in cloud.describe_subnets() if subnet.zone == "us-west-2-lax-1a"]
    return subnet


@pytest.fixture
def elsewhere(cloud: ports.Cloud) -> Subnet:
    [subnet] = [subnet for subnet in cloud.describe_subnets() if subnet.zone == "us-west-2-lax-1b"]
    return subnet
