"""ICPC/Kattis problem packages, legacy and 2023-07, from their files to a ``ProblemPackage``.

Format: https://icpc.io/problem-package-format/spec/legacy and …/2023-07-draft. What is not supported (interactive, multi-pass, submit-answer, custom
graders, validators with build scripts) is refused by name, because judging it wrongly would be worse.
"""

from __future__ import annotations

import math
import re
import shlex
from pathlib import PurePosixPath
from typing import Any, Literal

from contracts.errors import Invalid
from sandbox.checker import parse_flags
from sandbox.languages import language_of
from sandbox.package import Group, Limits, ProblemPackage, Resource, Source, Statement, Test, Validator
from sandbox.package_groups import GroupTree
from sandbox.package_source import read_yaml
from sandbox.package_submissions import read_submissions

Files = dict[str, bytes]
Format = Literal["legacy", "2023-07"]

_VERSIONS: dict[str, Format] = {
    "legacy": "legacy",
    "legacy-icpc": "legacy",
    "2023-07": "2023-07",
    "2023-07-draft": "2023-07",
    "2025-09": "2023-07",
}
_UNSUPPORTED = ("interactive", "multipass", "multi-pass", "submit-answer")
_STATEMENT = re.compile(r"(?:problem_statement|statement)/problem(?:\.([A-Za-z-]{2,10}))?\.(md|tex|pdf)")
_IMAGE = re.compile(r"(?:problem_statement|statement)/([^/]+\.(?:png|jpe?g|gif|svg|webp))", re.IGNORECASE)
_SLUG = re.compile(r"[^a-z0-9]+")
_RESOURCES_MAX = 8 << 20
_TIME_MAX_S, _TIME_MIN_S = 120.0, 0.1


def parse(files: Files, name: str) -> ProblemPackage:
    """Return the package that ``files`` make; ``name`` becomes its slug. Invalid with the reason."""
    if "problem.yaml" not in files:
        raise Invalid("problem.yaml is missing: this is not a problem package")
    settings = read_yaml("problem.yaml", files["problem.yaml"])
    form = _version(settings)
    warnings: list[str] = []
    is_scoring, is_custom = _type(settings, form, files)
    validator = _validator(files, form) if is_custom else None
    slug = _SLUG.sub("-", name.lower()).strip("-") or "problem"
    statements = _statements(files, warnings)
    tests, groups = _tests(files, form, settings, is_scoring=is_scoring, warnings=warnings)
    _judge_flags(tests, is_custom=is_custom)
    return ProblemPackage(
        slug=slug,
        title=_title(settings, statements, slug),
        format=form,
        statements=statements,
        tests=tests,
        groups=groups,
        limits=_limits(settings, form, files, warnings),
        is_scoring=is_scoring,
        validator=validator,
        submissions=read_submissions(files, is_scoring=is_scoring, warnings=warnings),
        resources=_resources(files, warnings),
        languages=_languages(settings),
        author=_people(settings),
        source=_text(settings.get("source")),
        license=_text(settings.get("license")),
        warnings=tuple(warnings),
    )


def _version(settings: dict[str, Any]) -> Format:
    version = str(settings.get("problem_format_version", "legacy"))
    if version not in _VERSIONS:
        raise Invalid(
            f"problem.yaml: problem_format_version {version!r} is not supported; use one of {', '.join(_VERSIONS)}"
        )
    return _VERSIONS[version]


def _words(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else str(value or "").split()


def _type(settings: dict[str, Any], form: Format, files: Files) -> tuple[bool, bool]:
    """Return (scoring, custom validator)."""
    kinds, validation = _words(settings.get("type", "pass-fail")), _words(settings.get("validation", "default"))
    for word in (*kinds, *validation):
        if word in _UNSUPPORTED:
            raise Invalid(f"{word} problems are not supported")
    for word in kinds:
        if word not in ("pass-fail", "scoring"):
            raise Invalid(f"problem.yaml: type {word!r} is unknown")
    custom_2023 = any(path.startswith("output_validator/") for path in files)
    return "scoring" in kinds, "custom" in validation or (form == "2023-07" and custom_2023)


def _text(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("en") or next(iter(value.values()), "")
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return "" if value is None else str(value)


def _people(settings: dict[str, Any]) -> str:
    people = settings.get("credits")
    if isinstance(people, dict):
        return _text([item.get("name") if isinstance(item, dict) else item for item in _list(people.get("authors"))])
    return _text(settings.get("author") or people)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _title(settings: dict[str, Any], statements: tuple[Statement, ...], slug: str) -> str:
    title = _text(settings.get("name")).strip()
    if not title and statements:
        found = re.search(r"\\problemname\{([^}]*)\}", statements[0].text)
        title = found.group(1).strip() if found else ""
    return title or slug


def _statements(files: Files, warnings: list[str]) -> tuple[Statement, ...]:
    found: dict[str, Statement] = {}
    for path in sorted(files):
        match = _STATEMENT.fullmatch(path)
        if match is None:
            continue
        language, ending = match.group(1) or "en", match.group(2)
        if ending == "pdf":
            warnings.append(f"{path}: statements in PDF are not shown; add Markdown")
        elif language not in found:  # Markdown sorts first
            kind: Literal["markdown", "latex"] = "markdown" if ending == "md" else "latex"
            found[language] = Statement(
                language=language,
                kind=kind,
                text=files[path].decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}"),
            )
    return tuple(sorted(found.values(), key=lambda one: (one.language != "en", one.language)))


def _resources(files: Files, warnings: list[str]) -> tuple[Resource, ...]:
    found, total = [], 0
    for path in sorted(files):
        match = _IMAGE.fullmatch(path)
        if match is not None:
            total += len(files[path])
            if total > _RESOURCES_MAX:
                warnings.append(f"{path} and later images are left out: more than {_RESOURCES_MAX >> 20} MiB together")
                break
            found.append(Resource(match.group(1), files[path]))
    return tuple(found)


def _languages(settings: dict[str, Any]) -> tuple[str, ...]:
    words = _words(settings.get("languages", "all"))
    names = {"python3": "python", "c++": "cpp"}
    return () if "all" in words else tuple(sorted({names.get(word, word) for word in words}))


def _number(where: str, value: object, low: float, high: float) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise Invalid(f"{where}: {value!r} is not a number from {low:g} to {high:g}")
    return number


def _limits(settings: dict[str, Any], form: Format, files: Files, warnings: list[str]) -> Limits:
    given = settings.get("limits") or {}
    if not isinstance(given, dict):
        raise Invalid("problem.yaml: limits must be a mapping")

    def whole(key: str, default: int, high: int) -> int:
        return round(_number(f"problem.yaml: limits.{key}", given.get(key, default), 1, high))

    seconds = _time_limit(given, files)
    if seconds is None:
        warnings.append(
            "no time limit is given: 1 s is assumed; add " + (".timelimit" if form == "legacy" else "limits.time_limit")
        )
    return Limits(
        time_ms=round((seconds or 1.0) * 1000),
        memory_kb=whole("memory", 2048, 16_384) * 1024,
        output_kb=whole("output", 8, 64) * 1024,
        code_kb=whole("code", 128, 1024),
        compile_ms=whole("compilation_time", 60, 120) * 1000,
        compile_memory_kb=whole("compilation_memory", 2048, 16_384) * 1024,
        validation_ms=whole("validation_time", 60, 120) * 1000,
        validation_memory_kb=whole("validation_memory", 2048, 16_384) * 1024,
        validation_output_kb=whole("validation_output", 8, 64) * 1024,
    )


def _time_limit(given: dict[str, Any], files: Files) -> float | None:
    for key in ("time_limit", "time"):
        if key in given:
            return _number(f"problem.yaml: limits.{key}", given[key], _TIME_MIN_S, _TIME_MAX_S)
    if ".timelimit" in files:
        return _number(
            ".timelimit", files[".timelimit"][:100].decode(errors="replace").strip(), _TIME_MIN_S, _TIME_MAX_S
        )
    found = re.search(rb"timelimit\s*=\s*['\"]?([0-9.]+)", files.get("domjudge-problem.ini", b"")[:4096])
    return (
        _number("domjudge-problem.ini: timelimit", found.group(1).decode(), _TIME_MIN_S, _TIME_MAX_S) if found else None
    )


def _validator(files: Files, form: Format) -> Validator:
    folder = "output_validator" if form == "2023-07" else "output_validators"
    paths = sorted(path for path in files if path.startswith(f"{folder}/"))
    programs = {path.split("/")[1] for path in paths}
    if form == "legacy" and len(programs) > 1 and any(path.count("/") > 1 for path in paths):
        raise Invalid(f"{folder}/ holds {len(programs)} validators; exactly one is supported")
    base = f"{folder}/{next(iter(programs))}/" if len(programs) == 1 and paths[0].count("/") > 1 else f"{folder}/"
    sources = tuple(Source(path.removeprefix(base), files[path]) for path in paths if path.startswith(base))
    if not sources:
        raise Invalid(f"the package wants its own output validator, but {folder}/ is empty")
    for source in sources:
        if "/" in source.name or source.name in ("build", "run"):
            raise Invalid(f"{base}{source.name}: validators with folders or build scripts are not supported")
    languages = {language for source in sources if (language := language_of(source.name)) is not None}
    if len(languages) != 1 or not languages <= {"c", "cpp", "python"}:
        raise Invalid(f"{folder}/: an output validator must be written in one of C, C++ or Python")
    if languages == {"python"} and len(sources) > 1:
        raise Invalid(f"{folder}/: a validator in Python must be one file")
    return Validator(language=languages.pop(), sources=sources)


def _tests(
    files: Files, form: Format, settings: dict[str, Any], *, is_scoring: bool, warnings: list[str]
) -> tuple[tuple[Test, ...], tuple[Group, ...]]:
    inputs = sorted(
        path for path in files if path.endswith(".in") and path.startswith(("data/sample/", "data/secret/"))
    )
    if not inputs:
        raise Invalid("data/secret has no tests: each is a .in file with its .ans file")
    root = _arguments(settings, "validator_flags", "output_validator_args") or ()
    tree = GroupTree(files, form, is_scoring=is_scoring, args=root, warnings=warnings)
    tests = []
    for path in inputs:
        base = path.removesuffix(".in")
        if f"{base}.ans" not in files:
            raise Invalid(f"{base}.ans is missing: every .in needs its .ans")
        if f"{base}.args" in files or any(other.startswith(f"{base}.files/") for other in files):
            raise Invalid(f"{base}: test cases with arguments or files are not supported")
        folder = str(PurePosixPath(path).parent)
        own = _arguments(
            read_yaml(f"{base}.yaml", files.get(f"{base}.yaml", b"")), "output_validator_args", "output_validator_flags"
        )
        tests.append(
            Test(
                name=base.removeprefix("data/"),
                input=files[path],
                answer=files[f"{base}.ans"],
                is_sample=path.startswith("data/sample/"),
                group=tree.add_test(folder),
                args=own if own is not None else tree.args(folder),
            )
        )
    lonely = [
        path for path in files if path.endswith(".ans") and path.startswith("data/") and f"{path[:-4]}.in" not in files
    ]
    if lonely:
        warnings.append(f"{lonely[0]} has no .in beside it")
    return tuple(tests), tree.groups()


def _arguments(settings: dict[str, Any], *keys: str) -> tuple[str, ...] | None:
    for key in keys:
        if key in settings:
            value = settings[key]
            try:
                return (
                    tuple(str(item) for item in value)
                    if isinstance(value, list)
                    else tuple(shlex.split(str(value or "")))
                )
            except ValueError as problem:
                raise Invalid(f"{key}: {problem}") from problem
    return None


def _judge_flags(tests: tuple[Test, ...], *, is_custom: bool) -> None:
    if not is_custom:
        for args in {test.args for test in tests}:
            parse_flags(args)
