"""A problem package as everything here uses it: frozen, complete, and one blob with a digest to store and ship.

``sandbox.package_reader`` reads ICPC/Kattis packages (legacy and 2023-07) into it. Scores are hundredths of a point, times milliseconds, memory KiB.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Literal

import msgspec

from contracts.errors import Invalid

_MAGIC = b"CWZ1"
BLOB_MAX = 1 << 29  # bytes of a package when unpacked
FULL_SCORE = 100_00


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission may use; the defaults are the format's own. ``time_ms`` is for C and C++, other languages get a multiple."""

    time_ms: int = 1_000
    memory_kb: int = 2048 * 1024
    output_kb: int = 8 * 1024
    code_kb: int = 128
    compile_ms: int = 60_000
    compile_memory_kb: int = 2048 * 1024
    validation_ms: int = 60_000
    validation_memory_kb: int = 2048 * 1024
    validation_output_kb: int = 8 * 1024


class Source(msgspec.Struct, frozen=True):
    """One file of a program, its name relative to the program."""

    name: str
    content: bytes


class Validator(msgspec.Struct, frozen=True, kw_only=True):
    """A custom output validator: exit status 42 accepts, 43 rejects, anything else is a judge error."""

    language: str
    sources: tuple[Source, ...]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A statement's source; ``kind`` "markdown" or "latex", ``language`` a code such as "en"."""

    language: str
    kind: Literal["markdown", "latex"]
    text: str


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """One test. ``group`` indexes the package's groups; ``args`` are for the checker or validator."""

    name: str
    input: bytes
    answer: bytes
    is_sample: bool = False
    group: int = 0
    args: tuple[str, ...] = ()


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group of tests and groups, for scoring packages; the first group is the whole and every parent comes before its children.

    A test that is accepted gives ``accept``, else ``reject``; what a group's members give is joined by ``join`` and cut at ``most``.
    """

    name: str
    parent: int = -1
    join: Literal["sum", "min", "max", "avg"] = "sum"
    accept: float = 0.0
    reject: float = 0.0
    most: float | None = None
    stops_at_failure: bool = False  # the rest of the group is not run once a test failed
    is_counted: bool = True  # samples usually are not


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What a jury submission must get: one of ``verdicts`` (letters of ``contracts.verdicts``), and for scoring packages a score in the range."""

    verdicts: tuple[str, ...]
    score_low: int | None = None
    score_high: int | None = None
    sets_time_limit: bool = False  # accepted ones: the slowest shows whether the time limit is sane


class JurySubmission(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that came with the package."""

    path: str
    language: str | None
    sources: tuple[Source, ...]
    expected: Expectation


class Resource(msgspec.Struct, frozen=True):
    """A file that the statement shows (an image)."""

    name: str
    content: bytes


class ProblemPackage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that statement pages, judges and verification need of one version of a problem."""

    slug: str
    title: str
    format: Literal["legacy", "2023-07"]
    statements: tuple[Statement, ...]
    tests: tuple[Test, ...]
    groups: tuple[Group, ...] = (Group(name="data"),)
    limits: Limits = Limits()
    is_scoring: bool = False
    validator: Validator | None = None
    submissions: tuple[JurySubmission, ...] = ()
    resources: tuple[Resource, ...] = ()
    languages: tuple[str, ...] = ()  # allowed ones; none means all
    author: str = ""
    source: str = ""
    license: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def samples(self) -> tuple[Test, ...]:
        """The tests that everybody may see, in order."""
        return tuple(test for test in self.tests if test.is_sample)

    def to_bytes(self) -> bytes:
        """Return the canonical blob: the same package gives the same bytes on every machine."""
        return _MAGIC + zlib.compress(self._plain(), 6)

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hex: two packages are equal when their digests are."""
        return hashlib.sha256(_MAGIC + self._plain()).hexdigest()

    def _plain(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, blob: bytes) -> ProblemPackage:
        """Read a blob of ``to_bytes``; Invalid when it is none."""
        if not blob.startswith(_MAGIC):
            raise Invalid("this is not a problem package's blob")
        unpacker = zlib.decompressobj()
        try:
            plain = unpacker.decompress(blob[len(_MAGIC) :], BLOB_MAX)
            if unpacker.unconsumed_tail or not unpacker.eof:
                raise Invalid("a problem package's blob is cut off or too large")
            return msgspec.msgpack.decode(plain, type=cls)
        except (zlib.error, msgspec.DecodeError) as problem:
            raise Invalid(f"a problem package's blob cannot be read: {problem}") from problem
