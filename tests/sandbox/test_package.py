"""Problem packages: both formats read, hostile ones refused before anything is unpacked."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from contracts.errors import CodeWarzError, Invalid, TooLarge
from sandbox import package_source
from sandbox.package import Expectation, ProblemPackage
from sandbox.package_reader import load_package, package_from_zip
from sandbox.scores import max_score, total
from tests.sandbox.conftest import PACKAGES

BASIC = {
    "problem.yaml": b"name: T\n",
    "data/secret/1.in": b"1\n",
    "data/secret/1.ans": b"1\n",
}


def zipped(files: dict[str, bytes], **options: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = options.get("method", zipfile.ZIP_DEFLATED)
            info.external_attr = options.get("mode", stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return stream.getvalue()


def folder_zip(folder: Path) -> bytes:
    files = {
        f"{folder.name}/{path.relative_to(folder)}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return zipped(files)


def test_a_legacy_package_is_read_with_its_limits_flags_and_expectations() -> None:
    package = load_package(PACKAGES / "average")
    assert (package.slug, package.title, package.format, package.author) == (
        "average",
        "Average",
        "legacy",
        "Ada Example",
    )
    assert (package.limits.time_ms, package.limits.memory_kb) == (1000, 256 * 1024)
    assert [test.name for test in package.tests] == ["sample/1", "secret/01-one", "secret/02-many"]
    assert {test.args for test in package.tests} == {("float_tolerance", "1e-6")}
    assert [test.name for test in package.samples] == ["sample/1"]
    assert package.statements[0].kind == "markdown"
    expected = {one.path: one.expected.verdicts for one in package.submissions}
    assert expected["accepted/ok.cpp"] == ("AC",)
    assert expected["wrong_answer/annotated.py"] == ("RTE", "MLE", "WA")
    assert expected["run_time_error/crash.py"] == ("RTE", "MLE")
    assert package.warnings == ()


def test_a_2023_07_package_is_read_with_its_validator_and_submissions_yaml() -> None:
    package = load_package(PACKAGES / "divisor")
    assert (package.title, package.author, package.limits.time_ms) == ("Any Divisor", "Ada Example, Bo Example", 1500)
    assert [(one.language, one.kind) for one in package.statements] == [("en", "markdown"), ("de", "latex")]
    assert package.validator is not None
    assert package.validator.language == "python"
    assert {one.path: one.expected for one in package.submissions}["other/two.py"] == Expectation(verdicts=("AC", "WA"))


def test_scores_of_groups_are_joined_and_cut_as_the_package_says() -> None:
    package = load_package(PACKAGES / "steps")
    names = [test.name for test in package.tests]
    assert names == ["sample/1", "secret/1-small/a", "secret/1-small/b", "secret/2-large/a", "secret/2-large/b"]
    assert total(package, ["AC"] * 5) == max_score(package) == 100_00
    assert total(package, ["WA", "AC", "AC", "AC", "WA"]) == 30_00
    assert total(package, ["AC", "AC", "WA", "AC", "AC"]) == 70_00
    assert total(package, ["AC", "WA", "", "WA", ""]) == 0
    assert total(package, ["AC"] * 5, [None, None, 0.5, None, None]) == 85_00


def test_modern_groups_score_by_max_score_and_aggregation() -> None:
    files = {
        "problem.yaml": b"problem_format_version: 2023-07\nname: T\ntype: scoring\nlimits: {time_limit: 1}\n",
        "data/secret/a/test_group.yaml": b"max_score: 40\nscore_aggregation: sum\n",
        "data/secret/b/test_group.yaml": b"max_score: 60\nscore_aggregation: min\n",
    }
    for name in ("a/1", "a/2", "b/1", "b/2"):
        files |= {f"data/secret/{name}.in": b"", f"data/secret/{name}.ans": b""}
    package = package_from_zip(zipped(files))
    assert max_score(package) == 100_00
    assert total(package, ["AC", "WA", "AC", "AC"]) == 80_00
    assert total(package, ["AC", "AC", "AC", "WA"]) == 40_00


@pytest.mark.parametrize("name", ["average", "divisor", "steps"])
def test_folder_zip_and_blob_give_the_same_package(name: str) -> None:
    package = load_package(PACKAGES / name)
    from_zip = package_from_zip(folder_zip(PACKAGES / name), "other")
    assert from_zip == package
    blob = package.to_bytes()
    assert ProblemPackage.from_bytes(blob) == package
    assert (from_zip.to_bytes(), from_zip.digest) == (blob, package.digest)


@pytest.mark.parametrize("blob", [b"", b"CWZ1", b"CWZ1garbage", b"PK\x03\x04"])
def test_a_blob_that_is_none_is_refused(blob: bytes) -> None:
    with pytest.raises(Invalid):
        ProblemPackage.from_bytes(blob)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.in", "leads out"),
        ("data/../../evil", "leads out"),
        ("/etc/passwd", "relative path"),
        ("C:/x", "relative path"),
        ("data\\secret\\x", "relative path"),
        ("data//x", "sensible"),
        ("./x", "sensible"),
        ("a/" * 40 + "x", "sensible"),
        ("x" * 300, "sensible"),
        ("new\nline", "control"),
    ],
)
def test_a_hostile_name_is_refused_and_named(name: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        package_from_zip(zipped({**BASIC, name: b"x"}))


def test_a_name_with_a_nul_byte_is_refused() -> None:
    content = zipped({**BASIC, "evilXname": b"x"}).replace(b"evilXname", b"evil\0name")
    with pytest.raises(Invalid, match="NUL"):
        package_from_zip(content)


def test_a_link_is_refused() -> None:
    with pytest.raises(Invalid, match="link"):
        package_from_zip(zipped({"problem.yaml": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777))


def test_a_name_that_occurs_twice_is_refused() -> None:
    content = zipped({**BASIC, "problem.yamX": b"name: other\n"}).replace(b"problem.yamX", b"problem.yaml")
    with pytest.raises(Invalid, match="twice"):
        package_from_zip(content)


def test_an_encrypted_entry_is_refused() -> None:
    content = bytearray(zipped(BASIC))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    with pytest.raises(Invalid, match="encrypted"):
        package_from_zip(bytes(content))


def test_a_method_other_than_deflate_is_refused() -> None:
    with pytest.raises(Invalid, match="deflate"):
        package_from_zip(zipped(BASIC, method=zipfile.ZIP_LZMA))


def test_a_zip_bomb_is_refused_from_its_directory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_source, "FILE_MAX", 48 << 20)
    bomb = zipped({**BASIC, "data/secret/2.in": bytes(40 << 20)})
    large = zipped({**BASIC, "data/secret/2.in": bytes(50 << 20)})
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("an entry was opened"))
    with pytest.raises(Invalid, match="zip bomb"):
        package_from_zip(bomb)
    with pytest.raises(Invalid, match="unpacked"):
        package_from_zip(large)


def test_too_many_files_are_refused_before_the_library_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_source, "FILES_MAX", 10)
    with pytest.raises(Invalid, match="more than 10"):
        package_from_zip(zipped({f"x{n}": b"" for n in range(30)}))


def test_an_entry_that_lies_about_its_size_is_refused() -> None:
    content = zipped({**BASIC, "data/secret/2.in": b"x" * 100_000})
    for size in (b"\xa0\x86\x01\x00",):
        content = content.replace(size, b"\x10\x00\x00\x00")
    with pytest.raises(Invalid):
        package_from_zip(content)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + b"x" * 100, b"not a zip at all", bytes(1000)])
def test_what_is_no_zip_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid, match="zip"):
        package_from_zip(content)


def test_a_truncated_or_damaged_zip_is_refused() -> None:
    content = folder_zip(PACKAGES / "average")
    for size in range(0, len(content), 97):
        with pytest.raises(CodeWarzError):
            package_from_zip(content[:size])
    for place in range(0, len(content), 61):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        try:
            package_from_zip(bytes(damaged))
        except CodeWarzError:
            continue


@pytest.mark.parametrize(
    "text",
    [
        b"a: &a [x,x]\nb: &b [*a,*a]\nname: *b\n",
        b"name: " + b"[" * 100 + b"]" * 100,
        b"name: " + b"[" * 30_000,
        b"x: y\n" * 20_000,
        b"name: !!python/object/apply:os.system ['true']\n",
        b"[1, 2]\n",
        b"name: \xff\n",
        b"name: {a: b\n",
        b"name: 2023-99-99\n",
        b"? [a, b]\n: c\n",
        b"limits: {memory: " + b"9" * 5000 + b"}\nname: x\n",
        b'name: "\\ud800"\n',
        b'name: "a\\0b"\n',
        b"name: !!timestamp x\n",
        b"name: !!int ''\n",
        b"name: !!bool x\n",
    ],
)
def test_hostile_yaml_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid):
        package_from_zip(zipped({**BASIC, "problem.yaml": text}))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"problem.yaml": b"validation: custom interactive\n"}, "interactive problems are not supported"),
        (
            {"problem.yaml": b"problem_format_version: 2023-07\ntype: multi-pass\n"},
            "multi-pass problems are not supported",
        ),
        ({"problem.yaml": b"problem_format_version: '1999'\n"}, "1999"),
        ({"problem.yaml": b"type: strange\n"}, "strange"),
        ({"problem.yaml": b"validation: custom\n"}, "output_validators/ is empty"),
        (
            {
                "problem.yaml": b"validation: custom\n",
                "output_validators/v/build": b"",
                "output_validators/v/v.cc": b"",
            },
            "build scripts",
        ),
        ({"problem.yaml": b"validation: custom\n", "output_validators/v/v.pl": b""}, "C, C"),
        ({"problem.yaml": b"validator_flags: unknown_flag\n"}, "unknown_flag"),
        ({"problem.yaml": b'validator_flags: "\'"\n'}, "No closing quotation"),
        ({"data/secret/testdata.yaml": b'output_validator_flags: "\'"\n'}, "No closing quotation"),
        ({"problem.yaml": b"limits: {memory: lots}\n"}, "memory"),
        ({"problem.yaml": b"limits: [1]\n"}, "mapping"),
        ({".timelimit": b"soon"}, "timelimit"),
        ({".timelimit": b"nan"}, "timelimit"),
        ({"data/secret/2.in": b""}, "2.ans is missing"),
        ({"submissions/accepted/x.py": b"# @EXPECTED_RESULTS@: MAYBE\n"}, "MAYBE"),
    ],
)
def test_what_is_wrong_or_not_supported_is_said(files: dict[str, bytes], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        package_from_zip(zipped({**BASIC, **files}))


def test_a_package_without_tests_or_without_problem_yaml_is_refused() -> None:
    with pytest.raises(Invalid, match=r"problem\.yaml is missing"):
        package_from_zip(zipped({"readme": b""}))
    with pytest.raises(Invalid, match="no tests"):
        package_from_zip(zipped({"problem.yaml": b"name: T\n"}))


def test_a_folder_with_a_link_out_of_it_is_refused(tmp_path: Path) -> None:
    for name, content in BASIC.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert load_package(tmp_path).title == "T"
    (tmp_path / "data/secret/2.in").symlink_to("/etc/hostname")
    with pytest.raises(Invalid, match="link"):
        load_package(tmp_path)


def test_a_path_that_does_not_exist_or_is_far_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        load_package(tmp_path / "none.zip")
    monkeypatch.setattr(package_source, "ARCHIVE_MAX", 10)
    with pytest.raises(TooLarge):
        package_from_zip(zipped(BASIC))


def test_a_missing_time_limit_is_a_warning_that_says_what_to_add() -> None:
    package = package_from_zip(zipped(BASIC))
    assert any(".timelimit" in warning for warning in package.warnings)
