"""Every kind of host, and one whole record."""

from __future__ import annotations

import pytest

from hwdiag.host.model import Host
from hwdiag.record.model import Record
from tests.report.samples import HOSTS, make_record


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> Host:
    return HOSTS[request.param]()


@pytest.fixture
def record() -> Record:
    return make_record()
