"""Points in our own code where a simulation may hurt it.

A point is a comment, ``# buggify at name``, on a line of its own inside an ``async def``. Outside of simulation it is that comment and nothing else. In a
simulation ``install`` has the modules compiled with ``await point("name")`` in its place, on the same line, before any of them is imported; what
happens there is up to the world that ``here`` says: nothing, a pause, a crash of the actor or the death of its process.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

PACKAGES = ("actors", "contracts", "edge", "supervisor")
_POINT = re.compile(r"^([ \t]+)# buggify at ([a-z_.]+)[ \t]*$", re.MULTILINE)

found: dict[str, str] = {}
"""The points of the modules that were imported so far, and the module of each."""

AtPoint = Callable[[str], Awaitable[None]]
_here: AtPoint | None = None


def set_world(here: AtPoint | None) -> AtPoint | None:
    """Say what happens at points from now on, None for nothing; return what happened until now."""
    global _here
    before, _here = _here, here
    return before


async def point(name: str) -> None:
    """Come to a point."""
    if _here is not None:
        await _here(name)


class _Loader(SourceFileLoader):
    """Compiles a module with its points."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Compile afresh where there is a point: the cached bytecode has none."""
        source = self.get_source(fullname) or ""
        if "# buggify at " not in source:
            return super().get_code(fullname)
        for _, name in _POINT.findall(source):
            if found.setdefault(name, fullname) != fullname:
                raise ImportError(f"the point {name!r} is in {found[name]} and in {fullname}: names tell points apart")
        return compile(_POINT.sub(r'\1await _buggify("\2")', source), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its way to ``point``."""
        module.__dict__["_buggify"] = point
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Have the house's modules compiled with their points from now on. RuntimeError when one was imported already: it would have none."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    early = sorted(name for name in sys.modules if name.partition(".")[0] in PACKAGES)
    if early:
        raise RuntimeError(f"imported before the points were installed: {', '.join(early[:5])}")
    sys.meta_path.insert(0, _Finder())
