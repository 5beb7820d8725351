"""Static files, read once and served from memory under a version that is the hash of them all.

Rule 1: a file is found by its name in a table made at the start, never by a path on disk: there is nothing to traverse.
Rule 2: under the current version an answer may be kept for ever; under any other one it is served, but to be asked for again each time (a page from before
an upgrade still works). Modules import each other relatively, so they stay within their version.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


@dataclass(frozen=True)
class Asset:
    """One file, plain and compressed; the ETag is that of the plain content."""

    content: bytes
    compressed: bytes
    content_type: str
    etag: str


class Assets:
    """All static files of a folder. Raises ValueError for one of a type that is not served."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, Asset] = {}
        whole = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            name = path.relative_to(folder).as_posix()
            if path.suffix not in _TYPES:
                raise ValueError(f"{name} is not of a type that is served ({', '.join(_TYPES)})")
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            whole.update(f"{name} {digest}\n".encode())
            compressed = gzip.compress(content, 9, mtime=0)
            self._files[name] = Asset(content, compressed, _TYPES[path.suffix], f'"{digest[:32]}"')
        self.version = whole.hexdigest()[:16]

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def url(self, name: str) -> str:
        """Return where a file is served; raises KeyError for one that is not there, so that a template cannot point at nothing."""
        if name not in self._files:
            raise KeyError(f"no static file {name!r}")
        return f"/static/{self.version}/{name}"

    def answer(
        self, version: str, name: str, *, if_none_match: str = "", accept_encoding: str = ""
    ) -> tuple[bytes, int, dict[str, str]] | None:
        """Return body, status and headers for a request, or None when there is no such file."""
        asset = self._files.get(name)
        if asset is None:
            return None
        headers = {
            "Content-Type": asset.content_type,
            "ETag": asset.etag,
            "Cache-Control": _FOR_EVER if version == self.version else _ASK_AGAIN,
            "Vary": "Accept-Encoding",
        }
        if asset.etag in (tag.strip().removeprefix("W/") for tag in if_none_match.split(",")[:32]):
            headers.pop("Content-Type")
            return b"", 304, headers
        if _takes_gzip(accept_encoding) and len(asset.compressed) < len(asset.content):
            headers["Content-Encoding"] = "gzip"
            return asset.compressed, 200, headers
        return asset.content, 200, headers


def _takes_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.split(",")[:32]:
        coding, _, quality = part.partition(";")
        if coding.strip().lower() == "gzip":
            return quality.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
