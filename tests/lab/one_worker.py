"""A Region with one worker, on which nothing runs yet: nobody has the address."""

from collections.abc import Iterator

import pytest

from lab.ec2 import PROFILES
from lab.history import History
from lab.run.region import Region


@pytest.fixture(name="region", scope="module")
def _region(in_sandbox: None) -> Iterator[Region]:
    with History() as history, Region(PROFILES["instant"], history, workers=1) as region:
        yield region
