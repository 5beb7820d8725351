"""Custom output validators (ICPC: exit status 42 accepts, 43 rejects), each submission's in a box of its own.

A validator is compiled once per source text and its program kept, because judging a submission must not cost a compilation; where a language leaves more
than one file, it is compiled each time. The box is sealed and each ruling starts from an empty ``/tmp``: a hostile output that takes over a
validator gains the rest of one ruling.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import msgspec

from contracts.verdicts import Verdict
from sandbox.languages import Language
from sandbox.package import Limits, Test, Validator
from sandbox.provider import KIB, MIB, Box, Command, File, RunLimits

_ACCEPT, _REJECT = 42, 43
_FEEDBACK = "/tmp/feedback"  # noqa: S108 - inside the box
_MESSAGE_MAX = 2_000
_COMPILE_MS = 60_000
_KEPT_BYTES = 16 * MIB


class Ruling(msgspec.Struct, frozen=True):
    """What a checker or validator says of one output. ``message`` is for the jury; ``fraction`` a share of the test's points, None for all."""

    verdict: Verdict
    message: str = ""
    fraction: float | None = None


class Validators:
    """Puts validators into boxes, and keeps the programs of the ``kept`` used last, so long as each is at most ``_KEPT_BYTES``."""

    def __init__(self, languages: dict[str, Language], kept: int = 16) -> None:
        self._languages = languages
        self._most = kept
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    async def furnish(self, box: Box, validator: Validator) -> Bench:
        """Make ``box``, fresh from its provider, the validator's; a validator that cannot be compiled gives a bench that rules JE. SandboxBroken."""
        language = self._languages.get(validator.language)
        if language is None:
            complaint = f"the output validator needs {validator.language}, which this machine does not have"
            return Bench(box, None, complaint)
        key = _key(validator)
        program = self._kept.get(key)
        if program is not None:
            self._kept.move_to_end(key)
            await box.put(File(f"/box/{language.artefact}", program, mode=0o755))
        else:
            complaint = await _compile_in(box, validator, language)
            if complaint:
                return Bench(box, None, complaint)
            if language.artefact:
                self._keep(key, await box.get(f"/box/{language.artefact}", _KEPT_BYTES))
        await box.seal()
        return Bench(box, language, "")

    def _keep(self, key: str, program: bytes | None) -> None:
        if program is None:
            return
        self._kept[key] = program
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


class Bench:
    """A validator in its box, ruling on one output at a time."""

    def __init__(self, box: Box, language: Language | None, complaint: str) -> None:
        self._box = box
        self._language = language
        self._complaint = complaint

    async def rule(self, limits: Limits, test: Test, output: bytes) -> Ruling:
        """Judge one output; a validator that cannot be compiled, crashes or runs too long is a JE. SandboxBroken."""
        if self._language is None:
            return Ruling(Verdict.JE, self._complaint)
        return await _rule_in(self._box, limits, self._language, test, output)


async def _compile_in(box: Box, validator: Validator, language: Language) -> str:
    """Compile in ``box``; return the complaint, "" when there is none."""
    is_single = len(validator.sources) == 1
    for source in validator.sources:
        name = language.source_file if is_single else source.name
        await box.put(File(f"/box/{name}", source.content))
    done = await box.run(_compile(validator, language))
    if done.exit_code == 0 and not done.oom:
        return ""
    complaint = done.stderr.decode(errors="replace")
    return f"the output validator does not compile: {complaint[:_MESSAGE_MAX]}"


def _key(validator: Validator) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(validator)).hexdigest()


def _compile(validator: Validator, language: Language) -> Command:
    """Compile every source file of the validator together: ``language.compile`` names one, the others take its place."""
    extensions = language.extensions
    names = [source.name for source in validator.sources if source.name.endswith(extensions)]
    names = [language.source_file] if len(validator.sources) == 1 else names
    argv: list[str] = []
    for word in language.compile:
        argv += names if word == language.source_file else [word]
    limits = RunLimits(
        cpu_ms=_COMPILE_MS,
        wall_ms=2 * _COMPILE_MS,
        memory_kb=1 << 20,
        file_bytes=128 * MIB,
        open_files=512,
        stdout_bytes=0,
        stderr_bytes=8 * KIB,
    )
    return Command(argv=tuple(argv), cwd="/box", env=language.env, merge=True, limits=limits)


async def _rule_in(box: Box, limits: Limits, language: Language, test: Test, output: bytes) -> Ruling:
    outcome = await box.run(
        Command(
            argv=(*language.run, "/tmp/input", "/tmp/answer", f"{_FEEDBACK}/", *test.args),  # noqa: S108 - inside the box
            env=language.env,
            stdin=output,
            files=(File("/tmp/input", test.input), File("/tmp/answer", test.answer)),  # noqa: S108 - inside the box
            directories=(_FEEDBACK,),
            collect=tuple(f"{_FEEDBACK}/{name}" for name in ("judgemessage.txt", "score.txt", "score_multiplier.txt")),
            limits=RunLimits(
                cpu_ms=limits.validation_ms,
                wall_ms=2 * limits.validation_ms,
                memory_kb=limits.validation_memory_kb,
                file_bytes=limits.validation_output_kb * KIB,
                stdout_bytes=0,
                address_space=language.address_space,
            ),
        )
    )
    message = outcome.collected.get(f"{_FEEDBACK}/judgemessage.txt", b"")[:_MESSAGE_MAX].decode(errors="replace")
    if outcome.exit_code == _ACCEPT and not outcome.oom and not outcome.stopped:
        return _accepted(message, outcome.collected)
    if outcome.exit_code == _REJECT and not outcome.oom and not outcome.stopped:
        return Ruling(Verdict.WA, message)
    errors = outcome.stderr.decode(errors="replace").strip()
    ended = (
        f"exit status {outcome.exit_code}"
        if outcome.exit_code is not None
        else f"signal {outcome.signal}"
        if outcome.signal
        else outcome.stopped
    )
    return Ruling(
        Verdict.JE,
        f"the output validator gave no ruling ({'memory' if outcome.oom else ended}): {message} {errors}".strip(),
    )


def _accepted(message: str, collected: dict[str, bytes]) -> Ruling:
    text = collected.get(f"{_FEEDBACK}/score_multiplier.txt")
    if text is None:
        return Ruling(Verdict.AC, message)
    try:
        fraction = float(text[:100].decode("ascii"))
    except ValueError:
        fraction = -1.0
    if not 0.0 <= fraction <= 1.0:
        return Ruling(Verdict.JE, f"the output validator's score multiplier is no number from 0 to 1: {text[:40]!r}")
    return Ruling(Verdict.AC, message, fraction)
