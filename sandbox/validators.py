"""Custom output validators (ICPC: exit status 42 accepts, 43 rejects), in boxes of their own.

A validator is compiled once per source text and kept in a warm box, because judging a test must not cost a compilation. At most ``size`` such boxes exist;
the one unused for longest makes way. They are sealed, each ruling starts from an empty ``/tmp``, and only one runs in a box at a time; so a hostile
output that takes over a validator gains the rest of one ruling.
"""

from __future__ import annotations

import hashlib
from typing import Self

import msgspec
import trio

from contracts.verdicts import Verdict
from sandbox.languages import Language
from sandbox.package import ProblemPackage, Test, Validator
from sandbox.provider import (
    KIB,
    MIB,
    Box,
    BoxLimits,
    Command,
    File,
    Provider,
    RunLimits,
    SandboxBroken,
    SandboxUnavailable,
)

_ACCEPT, _REJECT = 42, 43
_FEEDBACK = "/tmp/feedback"  # noqa: S108 - inside the box
_MESSAGE_MAX = 2_000
_COMPILE_MS = 60_000
_BOX = BoxLimits(tmp_bytes=256 * MIB)  # input, answer and feedback of the largest test


class Ruling(msgspec.Struct, frozen=True):
    """What a checker or validator says of one output. ``message`` is for the jury; ``fraction`` a share of the test's points, None for all."""

    verdict: Verdict
    message: str = ""
    fraction: float | None = None


class _Home:
    """One validator's box; ``lock`` keeps rulings apart."""

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.box: Box | None = None
        self.key = ""
        self.used = 0


class Validators:
    """Rules on outputs of packages with a custom validator. Use as ``async with``: leaving it destroys its boxes."""

    def __init__(self, provider: Provider, languages: dict[str, Language], size: int = 2) -> None:
        self._provider = provider
        self._languages = languages
        self._homes = [_Home() for _ in range(size)]
        self._clock = 0

    async def __aenter__(self) -> Self:
        """Nothing is started before the first ruling."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Destroy every box."""
        with trio.CancelScope(shield=True):
            for home in self._homes:
                await self._evict(home)

    @property
    def boxes(self) -> int:
        """How many boxes exist now; never above ``size``."""
        return sum(home.box is not None for home in self._homes)

    async def rule(self, package: ProblemPackage, test: Test, output: bytes) -> Ruling:
        """Let the package's validator judge one output; a validator that cannot be compiled, crashes or runs too long is a JE."""
        assert package.validator is not None
        language = self._languages.get(package.validator.language)
        if language is None:
            return Ruling(
                Verdict.JE, f"the output validator needs {package.validator.language}, which this machine does not have"
            )
        key = _key(package.validator)
        home = self._choose(key)
        async with home.lock:
            try:
                if home.key != key or home.box is None or not home.box.is_alive():
                    complaint = await self._furnish(home, key, package.validator, language)
                    if complaint:
                        return Ruling(Verdict.JE, complaint)
                assert home.box is not None
                return await _rule_in(home.box, package, language, test, output)
            except SandboxBroken as problem:
                await self._evict(home)
                return Ruling(Verdict.JE, f"the output validator's sandbox broke: {problem.detail}")
            except BaseException:
                await self._evict(home)  # cancelled in the middle: its next reply would be for this one
                raise

    def _choose(self, key: str) -> _Home:
        """Return the home that has this validator and is free, else a free one, else the one with the fewest waiting; by last use when equal."""
        self._clock += 1
        home = min(self._homes, key=lambda one: (self._busy(one), one.key != key, one.box is not None, one.used))
        home.used = self._clock
        return home

    @staticmethod
    def _busy(home: _Home) -> int:
        return home.lock.statistics().tasks_waiting + home.lock.locked()

    async def _furnish(self, home: _Home, key: str, validator: Validator, language: Language) -> str:
        """Open and fill a box, returning why that is impossible, or "" when it is ready."""
        await self._evict(home)
        try:
            home.box = await self._provider.open(_BOX)
        except SandboxUnavailable as problem:
            return problem.detail
        is_single = len(validator.sources) == 1
        for source in validator.sources:
            name = language.source_file if is_single else source.name
            await home.box.put(File(f"/box/{name}", source.content))
        done = await home.box.run(_compile(validator, language))
        if done.exit_code != 0:
            complaint = done.stderr.decode(errors="replace")
            await self._evict(home)
            return f"the output validator does not compile: {complaint[:_MESSAGE_MAX]}"
        await home.box.seal()
        home.key = key
        return ""

    async def _evict(self, home: _Home) -> None:
        box, home.box, home.key = home.box, None, ""
        if box is not None:
            await box.close()


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


async def _rule_in(box: Box, package: ProblemPackage, language: Language, test: Test, output: bytes) -> Ruling:
    limits = package.limits
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
