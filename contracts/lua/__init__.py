"""Lua scripts that Redis (or the embedded variant) runs, by name."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def lua(name: str) -> str:
    """Return the text of ``<name>.lua``."""
    return files(__name__).joinpath(f"{name}.lua").read_text("utf-8")
