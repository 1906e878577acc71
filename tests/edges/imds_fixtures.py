"""An IMDS that answers in the way of each test, and its asker."""

from collections.abc import Iterator

import pytest

from floatingip.edges.imds import Imds
from tests.edges.imds_service import Service, patient, serving


@pytest.fixture(name="service")
def _service() -> Iterator[Service]:
    with serving() as service:
        yield service


@pytest.fixture(name="asker")
def _client(service: Service) -> Iterator[Imds]:
    with patient(service) as asker:
        yield asker
