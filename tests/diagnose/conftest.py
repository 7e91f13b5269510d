"""The hosts and the record that tests of drawing have."""

from tests.report.conftest import host as host
from tests.report.conftest import record as record
