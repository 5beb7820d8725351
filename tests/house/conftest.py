"""Servers for the tests: one that a whole module shares, or one that a test may kill."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.house.server import Server

NewServer = Callable[..., Server]
Tell = Callable[[str], None]


@pytest.fixture
def tell() -> Tell:
    """Say a figure that was seen; ``pytest -rP`` shows it."""
    return print


@pytest.fixture(scope="module")
def new_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewServer]:
    """Make servers that are not started; whatever still runs when the module ends is killed."""
    made: list[Server] = []
    numbers = itertools.count(1)

    def new(launcher: tuple[str, ...] = (), **settings: object) -> Server:
        # A short folder: the control socket's path has a limit of 107 bytes.
        server = Server(tmp_path_factory.mktemp(f"h{next(numbers)}"), launcher, **settings)
        made.append(server)
        return server

    yield new
    for server in made:
        server.close()
