"""The jury's own submissions and what each must get: by folder, by ``submissions.yaml`` (2023-07), or by an annotation in its text (legacy)."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

from contracts.errors import Invalid
from sandbox.languages import language_of
from sandbox.package import Expectation, JurySubmission, Source
from sandbox.package_source import read_yaml

_FOLDERS: dict[str, tuple[str, ...]] = {
    "accepted": ("AC",),
    "wrong_answer": ("WA",),
    "time_limit_exceeded": ("TLE",),
    "run_time_error": ("RTE", "MLE"),  # the format knows no memory verdict
    "partially_accepted": ("AC", "WA", "TLE", "RTE", "MLE", "OLE"),
    "rejected": ("WA", "TLE", "RTE", "MLE", "OLE", "CE"),
    "brute_force": ("WA", "TLE", "RTE", "MLE", "OLE"),
    "compiler_error": ("CE",),
    "memory_limit_exceeded": ("MLE", "RTE"),
    "output_limit_exceeded": ("OLE",),
    "mixed": ("AC", "WA", "TLE", "RTE", "MLE", "OLE", "CE"),
}
_LETTERS: dict[str, tuple[str, ...]] = {
    "AC": ("AC",),
    "WA": ("WA",),
    "TLE": ("TLE",),
    "RTE": ("RTE", "MLE"),
    "MLE": ("MLE",),
    "OLE": ("OLE",),
    "CE": ("CE",),
}
_ANNOTATED: dict[str, tuple[str, ...]] = {
    "CORRECT": ("AC",),
    "ACCEPTED": ("AC",),
    "WRONG-ANSWER": ("WA",),
    "WRONG_ANSWER": ("WA",),
    "NO-OUTPUT": ("WA",),
    "TIMELIMIT": ("TLE",),
    "TIME_LIMIT_EXCEEDED": ("TLE",),
    "RUN-ERROR": ("RTE", "MLE"),
    "RUN_TIME_ERROR": ("RTE", "MLE"),
    "MEMORY-LIMIT": ("MLE",),
    "OUTPUT-LIMIT": ("OLE",),
    "COMPILER-ERROR": ("CE",),
}
_ANNOTATION = re.compile(rb"@EXPECTED_(RESULTS|SCORE)@:[ \t]*([^\r\n*]{1,200})")
_ANNOTATION_IN = 64 << 10
_COUNT_MAX = 500


def read_submissions(files: dict[str, bytes], *, is_scoring: bool, warnings: list[str]) -> tuple[JurySubmission, ...]:
    """Return the submissions in the order of their paths."""
    rules = read_yaml("submissions/submissions.yaml", files.get("submissions/submissions.yaml", b""))
    found: dict[str, list[Source]] = {}
    for path in sorted(files):
        parts = path.split("/")
        if parts[0] != "submissions" or len(parts) < 3:
            continue
        found.setdefault("/".join(parts[1:3]), []).append(Source("/".join(parts[3:]) or parts[2], files[path]))
    if len(found) > _COUNT_MAX:
        raise Invalid(f"submissions/ holds {len(found)} submissions, more than {_COUNT_MAX}")
    kept = []
    for path, sources in found.items():
        expected = _expectation(path, sources, rules, is_scoring=is_scoring)
        if expected is None:
            warnings.append(f"submissions/{path}: this folder says nothing about what to expect, so it is not judged")
            continue
        languages = {language for source in sources if (language := language_of(source.name)) is not None}
        language = languages.pop() if len(languages) == 1 else None
        kept.append(JurySubmission(path=path, language=language, sources=tuple(sources), expected=expected))
    return tuple(kept)


def _expectation(path: str, sources: list[Source], rules: dict[str, Any], *, is_scoring: bool) -> Expectation | None:
    folder = path.split("/", maxsplit=1)[0]
    verdicts = _FOLDERS.get(folder)
    low = high = None
    if is_scoring and folder == "partially_accepted":
        low = 1
    for pattern, rule in rules.items():
        if isinstance(rule, dict) and _matches(path, pattern):
            verdicts, low, high = _ruled(pattern, rule, verdicts, (low, high))
    for source in sources:
        for kind, text in _ANNOTATION.findall(source.content[:_ANNOTATION_IN]):
            words = [word.strip() for word in text.decode(errors="replace").upper().split(",")]
            if kind == b"SCORE":
                low = high = _points(path, words[0])
            else:
                verdicts = _annotated(path, words)
    if verdicts is None:
        return None
    return Expectation(verdicts=verdicts, score_low=low, score_high=high, sets_time_limit=folder == "accepted")


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/")


def _ruled(
    pattern: str, rule: dict[str, Any], verdicts: tuple[str, ...] | None, scores: tuple[int | None, int | None]
) -> tuple[tuple[str, ...] | None, int | None, int | None]:
    letters = rule.get("required") or rule.get("permitted")
    if letters is not None:
        named = letters if isinstance(letters, list) else [letters]
        unknown = [str(letter) for letter in named if str(letter) not in _LETTERS]
        if unknown:
            raise Invalid(f"submissions.yaml: {pattern}: verdict {unknown[0]!r} is unknown")
        verdicts = tuple(dict.fromkeys(verdict for letter in named for verdict in _LETTERS[str(letter)]))
    if "score" in rule:
        score = rule["score"]
        ends = score if isinstance(score, list) else [score, score]
        if len(ends) != 2:
            raise Invalid(f"submissions.yaml: {pattern}: score must be a number or a list of two")
        return verdicts, _points(pattern, ends[0]), _points(pattern, ends[1])
    return verdicts, *scores


def _points(where: str, value: object) -> int:
    try:
        return round(float(str(value)) * 100)
    except (ValueError, OverflowError) as problem:
        raise Invalid(f"{where}: {value!r} is not a score") from problem


def _annotated(path: str, words: list[str]) -> tuple[str, ...]:
    unknown = [word for word in words if word not in _ANNOTATED]
    if unknown:
        raise Invalid(f"submissions/{path}: @EXPECTED_RESULTS@ says {unknown[0]!r}; known are {', '.join(_ANNOTATED)}")
    return tuple(dict.fromkeys(verdict for word in words for verdict in _ANNOTATED[word]))
