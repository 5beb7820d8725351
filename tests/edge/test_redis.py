"""Every variant of the ``Redis`` port passes one suite, and so does a real server."""

from tests.edge.conformance_redis import *  # noqa: F403 - the suite's tests, collected here
