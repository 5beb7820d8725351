"""Every variant of the ``Database`` port passes one suite."""

from tests.edge.conformance_database import *  # noqa: F403 - the suite's tests, collected here
