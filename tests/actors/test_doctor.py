"""What ``codewarz doctor`` says of the folder and the address; the machine itself is tested in ``tests/sandbox``."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.doctor import examine, show
from actors.settings import Settings


@pytest.fixture
def taken() -> Iterator[str]:
    """Give an address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def settings(folder: Path, http: str) -> Settings:
    return Settings(data=folder / "data", http=http, _env_file=None)


@pytest.mark.sandbox
def test_an_address_that_a_stranger_holds_is_a_warning_with_its_remedy(
    tmp_path: Path, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = examine(settings(tmp_path, taken))
    address = next(check for check in report.checks if check.name == "web address")
    assert not address.is_ok
    assert "CODEWARZ_HTTP" in address.remedy
    assert report.is_usable
    show(report)
    shown = capsys.readouterr().out
    assert "Everything that is needed works." in shown
    assert shown.count("languages") == 1


@pytest.mark.sandbox
def test_an_address_that_the_running_house_holds_is_as_it_should_be(tmp_path: Path, taken: str) -> None:
    asked = settings(tmp_path, taken)
    asked.data.mkdir()
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(asked.socket))
        control.listen()
        report = examine(asked)
    address = next(check for check in report.checks if check.name == "web address")
    assert address.is_ok
    assert address.detail == f"{taken}, where CodeWarz is running"


@pytest.mark.sandbox
def test_a_data_folder_that_cannot_be_made_is_not_usable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    report = examine(settings(tmp_path / "file", "127.0.0.1:0"))
    folder = next(check for check in report.checks if check.name == "data folder")
    assert not folder.is_ok
    assert folder.is_required
    assert not report.is_usable
