"""Which tests of actors run on PostgreSQL as well."""

from __future__ import annotations

import pytest

BOTH = {"test_boards", "test_core", "test_outbox", "test_problems", "test_queue_operations", "test_sweeper"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Where transactions overlap, the same code may fail in another way: these run on both. A clock that jumps waits for no server."""
    module = metafunc.module.__name__.rpartition(".")[2]
    names = metafunc.fixturenames
    if module in BOTH and "database" in names and "autojump_clock" not in names:
        metafunc.parametrize("database", ["sqlite", "postgres"], indirect=True)
