"""The files of a package, from a zip archive or a folder, as a plain mapping of names to bytes; hostile ones are refused before anything is unpacked.

A zip says all about its entries in one directory at its end. Everything is judged from there (names, kinds, sizes, methods), and then each entry is read no
further than it said. Nothing is ever written to disk.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from contracts.errors import Invalid, TooLarge

ARCHIVE_MAX = 128 << 20
FILES_MAX = 10_000
FILE_MAX = 64 << 20  # a validator gets input, answer and output in one frame
TOTAL_MAX = 384 << 20
_RATIO_FROM = 32 << 20  # below this many bytes any ratio is harmless
_RATIO_MAX = 300
_NAME_MAX = 255
_DIRECTORY_MARK = b"PK\x01\x02"
_YAML_MAX = 64 << 10
_YAML_DEPTH = 16
_YAML_EVENTS = 20_000
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_IGNORED = ("__MACOSX", "__pycache__", ".DS_Store", ".git", ".svn", "Thumbs.db")


def read_zip(content: bytes) -> tuple[dict[str, bytes], str | None]:
    """Return (files, name of the single top folder that was left out or None). Invalid or TooLarge with the reason."""
    if len(content) > ARCHIVE_MAX:
        raise TooLarge(f"the package is larger than {ARCHIVE_MAX >> 20} MiB")
    if content.count(_DIRECTORY_MARK) > 2 * FILES_MAX:  # before the library makes an object of each
        raise Invalid(f"the package has more than {FILES_MAX} files")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _judge_entries(entries, len(content))
            files = {}
            for entry in entries:
                if not entry.is_dir() and not _is_ignored(entry.filename):
                    files[entry.filename] = _read_entry(archive, entry)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        UnicodeDecodeError,
        ValueError,
        OSError,
    ) as problem:
        raise Invalid(f"the package is not a sound zip archive: {problem}") from problem
    return _without_top(files)


def _judge_entries(entries: list[zipfile.ZipInfo], archive_size: int) -> None:
    if len(entries) > FILES_MAX:
        raise Invalid(f"the package has {len(entries)} files, more than {FILES_MAX}")
    seen: set[str] = set()
    total = 0
    for entry in entries:
        _judge_name(entry.orig_filename)
        name = entry.filename.rstrip("/")
        if name in seen:
            raise Invalid(f"the package has {name!r} twice")
        seen.add(name)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Invalid(f"{name!r} is a link or a special file: only files and folders may be in a package")
        if entry.flag_bits & 1:
            raise Invalid(f"{name!r} is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Invalid(f"{name!r} is compressed in a way other than deflate")
        if entry.file_size > FILE_MAX:
            raise Invalid(f"{name!r} is larger than {FILE_MAX >> 20} MiB unpacked")
        total += entry.file_size
    if total > TOTAL_MAX:
        raise Invalid(f"the package is larger than {TOTAL_MAX >> 20} MiB unpacked")
    if total > _RATIO_FROM and total > _RATIO_MAX * archive_size:
        raise Invalid(f"the package unpacks to {total // archive_size} times its size: this is a zip bomb")


def _judge_name(name: str) -> None:
    """Refuse what is no plain relative path; Windows' ways of writing one, too."""
    parts = name.rstrip("/").split("/")
    if "\0" in name:
        raise Invalid(f"a file name has a NUL byte: {name!r}")
    if name.startswith("/") or "\\" in name or (len(name) > 1 and name[1] == ":"):
        raise Invalid(f"{name!r} is not a relative path with forward slashes")
    if ".." in parts:
        raise Invalid(f"{name!r} leads out of the package")
    if "" in parts or "." in parts or len(parts) > _YAML_DEPTH or any(len(part) > _NAME_MAX for part in parts):
        raise Invalid(f"{name[:_NAME_MAX]!r} is not a sensible file name")
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name):
        raise Invalid(f"{name!r} has control characters")


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as stream:
        content = stream.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise Invalid(f"{entry.filename!r} is not as long as the archive says")
    return content


def _is_ignored(name: str) -> bool:
    return any(part in _IGNORED for part in name.split("/"))


def _without_top(files: dict[str, bytes]) -> tuple[dict[str, bytes], str | None]:
    tops = {name.split("/", 1)[0] for name in files}
    if "problem.yaml" in files or len(tops) != 1:
        return files, None
    top = tops.pop()
    return {name.removeprefix(f"{top}/"): content for name, content in files.items()}, top


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder; links are followed only to files inside of it. Invalid or TooLarge with the reason."""
    root = folder.resolve()
    files: dict[str, bytes] = {}
    total = 0
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _IGNORED)
        for name in sorted(names):
            path = Path(place) / name
            relative = str(PurePosixPath(path.relative_to(root)))
            if _is_ignored(relative):
                continue
            target = path.resolve()
            if not target.is_relative_to(root) or not target.is_file():
                raise Invalid(f"{relative!r} is a link out of the package, or a special file")
            total += target.stat().st_size
            if len(files) >= FILES_MAX or total > TOTAL_MAX:
                raise TooLarge(
                    f"{folder} has more than {FILES_MAX} files or {TOTAL_MAX >> 20} MiB: is this a problem package?"
                )
            files[relative] = target.read_bytes()
    return files


def read_yaml(name: str, content: bytes) -> dict[str, Any]:
    """Return a YAML file's mapping (empty for an empty file). Invalid for anything else, and for aliases, depth or size that only bombs have."""
    if len(content) > _YAML_MAX:
        raise Invalid(f"{name} is larger than {_YAML_MAX >> 10} KiB")
    try:
        text = content.decode()
        _judge_yaml(name, text)
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError) as problem:
        raise Invalid(f"{name} is not readable YAML: {problem}") from problem
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(f"{name} must be a mapping of keys to values")
    return {str(key): item for key, item in value.items()}


def _judge_yaml(name: str, text: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise Invalid(f"{name} uses YAML aliases, which packages must not")
        if (
            getattr(event, "tag", None) is not None
        ):  # the library's constructors fail in many ways on a value that is not what its tag says
            raise Invalid(f"{name} uses YAML tags, which packages must not")
        if isinstance(event, yaml.ScalarEvent) and _UNSTORABLE.search(event.value):
            raise Invalid(f"{name} has a NUL or half a character in a text: neither can be stored or shown")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _YAML_DEPTH or count > _YAML_EVENTS:
            raise Invalid(f"{name} is nested too deeply or has too many entries")
