"""The secret in the data folder: made once, whole or not at all, and what is no secret is not taken for one. Secret settings are never shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from actors import doctor
from actors.settings import Settings, example, load
from contracts.errors import Invalid
from contracts.logins import Kind


def of(data: Path) -> Settings:
    return Settings(_env_file=None, data=data)


def test_it_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    made = of(tmp_path).secret_bytes()
    assert len(made) >= 32
    assert of(tmp_path).secret_bytes() == made
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_nothing_behind_and_the_next_start_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> NoReturn:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Invalid, match="No space left on device"):
            of(tmp_path).secret_bytes()
    assert list(tmp_path.iterdir()) == []
    assert of(tmp_path).secret_bytes()


def test_of_two_that_start_at_once_both_have_the_first_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, others = os.link, b"of the other one, which was quicker"

    def late(source: Path, target: Path) -> None:
        target.write_bytes(others)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert of(tmp_path).secret_bytes() == others
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> NoReturn:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    made = of(tmp_path).secret_bytes()
    assert of(tmp_path).secret_bytes() == made


@pytest.mark.parametrize("content", [b"", b"too short"])
def test_what_is_no_secret_is_refused_with_what_mends_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(Invalid, match="remove it"):
        of(tmp_path).secret_bytes()


def test_a_secret_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    with pytest.raises(Invalid, match="cannot be read"):
        of(tmp_path).secret_bytes()


def test_the_databases_logins_are_read_and_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CODEWARZ_DATABASE_LOGINS", "core=c:hidden-hidden-hidden gateway=g:hidden-hidden-hidden")
    settings = load()
    assert [(each.kind, each.name) for each in settings.logins] == [(Kind.CORE, "c"), (Kind.GATEWAY, "g")]
    assert "hidden" not in repr(settings)
    assert doctor._setting(settings, "database_logins").value == "(set)"
    monkeypatch.setenv("CODEWARZ_DATABASE_LOGINS", "core=c:hidden")
    with pytest.raises(Invalid, match="CODEWARZ_DATABASE_LOGINS: the password of core needs 16") as caught:
        load()
    assert "hidden" not in str(caught.value)


def test_the_example_tells_of_every_setting() -> None:
    assert (Path(__file__).parent.parent.parent / ".env.example").read_text() == example()
