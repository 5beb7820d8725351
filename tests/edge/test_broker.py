"""Every variant of the ``Broker`` port passes one suite."""

from tests.edge.conformance_broker import *  # noqa: F403 - the suite's tests, collected here
