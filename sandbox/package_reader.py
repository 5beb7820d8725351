"""Packages from folders and zip files, whoever sent them: the way in to ``package_source`` (what may be read) and ``package_format`` (what it means)."""

from __future__ import annotations

from pathlib import Path

from contracts.errors import Invalid
from sandbox import package_format, package_source
from sandbox.package import ProblemPackage


def load_package(path: Path) -> ProblemPackage:
    """Read a package folder or zip file; Invalid with the reason when it is none, is hostile, or needs what is not supported."""
    if path.is_dir():
        return package_format.parse(package_source.read_folder(path), path.resolve().name)
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise Invalid(f"{path} cannot be read: {problem.strerror}") from problem
    return package_from_zip(content, path.stem)


def package_from_zip(content: bytes, name: str = "problem") -> ProblemPackage:
    """Read a package from a zip archive's bytes; Invalid as in ``load_package``. ``name`` is used when the archive has no single top folder."""
    files, top = package_source.read_zip(content)
    return package_format.parse(files, top or name)
