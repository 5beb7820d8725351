"""Languages as data: which compilers this machine has, and how they are called inside a box.

A language is offered when its program is found and answers. Sources lie in ``/box``, where compiling happens; afterwards ``/box`` is read-only and programs
run in an empty ``/tmp``. C and C++ are linked dynamically: static linking saves 0.3 ms a run but takes libraries that not every machine has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

from sandbox.bwrap import Interpreter

_PROBE_TIMEOUT_S = 20
_PATH = "/usr/local/bin:/usr/bin:/bin"
_BOX_ENVIRONMENT = {"PATH": _PATH, "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}  # noqa: S108 - inside the box


class Language(msgspec.Struct, frozen=True, kw_only=True):
    """How one language is compiled and run. ``time_factor`` multiplies a problem's time limit, ``extra_memory_kb`` adds to its memory limit."""

    id: str
    name: str
    version: str
    source_file: str
    extensions: tuple[str, ...]
    compile: tuple[str, ...]
    run: tuple[str, ...]
    artefact: str = ""  # what may be kept and run elsewhere, when it is one file
    time_factor: float = 1.0
    extra_memory_kb: int = 0
    processes: int = 64
    address_space: bool = True  # whether RLIMIT_AS may stand in for a memory control group
    binds: tuple[str, ...] = ()  # folders outside /usr that it needs in the box
    env: dict[str, str] = {}


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    needs: tuple[str, ...]  # programs; {0}, {1} in the commands
    version: tuple[str, ...]
    source_file: str
    extensions: tuple[str, ...]
    compile: tuple[str, ...]
    run: tuple[str, ...]
    artefact: str = ""
    time_factor: float = 1.0
    extra_memory_kb: int = 0
    processes: int = 64
    address_space: bool = True
    env: dict[str, str] = {}


_COMPILE_PYTHON = """\
import py_compile, sys
try:
    py_compile.compile("main.py", cfile="main.pyc", dfile="/box/main.py", doraise=True)
except py_compile.PyCompileError as problem:
    sys.exit(problem.msg)
except (ValueError, RecursionError, MemoryError, SyntaxError) as problem:
    sys.exit(f"{type(problem).__name__}: {problem}")
"""

_KNOWN = (
    _Known(
        id="c", name="C", needs=("gcc",), version=("{0}", "-dumpfullversion"), source_file="main.c", extensions=(".c",),
        compile=("{0}", "-std=gnu17", "-O2", "-pipe", "-x", "c", "main.c", "-o", "main", "-lm"), run=("/box/main",), artefact="main",
    ),
    _Known(
        id="cpp", name="C++", needs=("g++",), version=("{0}", "-dumpfullversion"), source_file="main.cpp",
        extensions=(".cpp", ".cc", ".cxx", ".c++", ".C"),
        compile=("{0}", "-std=gnu++20", "-O2", "-pipe", "-x", "c++", "main.cpp", "-o", "main"), run=("/box/main",), artefact="main",
    ),
    _Known(
        id="java", name="Java", needs=("java", "javac"), version=("{1}", "-version"), source_file="Main.java", extensions=(".java",),
        compile=("{1}", "-encoding", "UTF-8", "-d", ".", "Main.java"),
        run=("{0}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4", "-Xss64m", "-Xshare:auto", "-cp", "/box", "Main"),
        time_factor=2.0, extra_memory_kb=256 * 1024, processes=128, address_space=False,
    ),
    _Known(
        id="javascript", name="JavaScript", needs=("node",), version=("{0}", "--version"), source_file="main.js", extensions=(".js",),
        compile=("{0}", "--check", "main.js"), run=("{0}", "--stack-size=65500", "/box/main.js"),
        time_factor=2.0, extra_memory_kb=128 * 1024, processes=64, address_space=False,
    ),
    _Known(
        id="go", name="Go", needs=("go",), version=("{0}", "env", "GOVERSION"), source_file="main.go", extensions=(".go",),
        compile=("{0}", "build", "-o", "main", "main.go"), run=("/box/main",), artefact="main", address_space=False,
        env={"GOCACHE": "/box/.cache", "GOPATH": "/box/.go", "GO111MODULE": "off", "GOTOOLCHAIN": "local"},
    ),
    _Known(
        id="rust", name="Rust", needs=("rustc",), version=("{0}", "--version"), source_file="main.rs", extensions=(".rs",),
        compile=("{0}", "--edition=2021", "-O", "-o", "main", "main.rs"), run=("/box/main",), artefact="main", address_space=False,
    ),
)  # fmt: skip

LANGUAGE_OF_EXTENSION = {extension: known.id for known in _KNOWN for extension in known.extensions} | {
    ".py": "python",
    ".py3": "python",
}


def _python(interpreter: Interpreter) -> Language:
    program = str(interpreter.program)
    version = _ask((program, "-I", "-S", "-c", "import platform; print(platform.python_version())")) or "3"
    return Language(
        id="python",
        name="Python",
        version=version,
        source_file="main.py",
        extensions=(".py", ".py3"),
        compile=(program, "-I", "-S", "-E", "-B", "-c", _COMPILE_PYTHON),
        run=(program, "-I", "-B", "/box/main.pyc"),
        artefact="main.pyc",
        time_factor=3.0,
        extra_memory_kb=32 * 1024,
        env=_BOX_ENVIRONMENT,
    )


def _ask(argv: tuple[str, ...]) -> str | None:
    """Return the first line that a program answers, None when it does not work."""
    try:
        done = subprocess.run(  # noqa: S603 - programs of this machine, asked for their version
            argv, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=True, text=True, env=_environment()
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else None


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", _PATH), "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C"}


def _locate(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Return where a program is inside a box, and what must be bound for it. A toolchain outside ``/usr`` is found through what it says of itself."""
    for folder in _PATH.split(":"):
        candidate = Path(folder) / name
        if os.access(candidate, os.X_OK) and _is_below_usr(candidate.resolve()):
            return str(candidate), ()
    found = shutil.which(name)
    question = {
        "rustc": ("--print", "sysroot"),
        "go": ("env", "GOROOT"),
        "node": ("-p", "require('path').dirname(require('path').dirname(process.execPath))"),
    }
    if found is None or name not in question:
        return None
    root = _ask((found, *question[name]))
    if root is None:
        return None
    program = Path(root).resolve() / "bin" / name
    return (str(program), (str(Path(root).resolve()),)) if os.access(program, os.X_OK) else None


def _is_below_usr(path: Path) -> bool:
    return path.is_relative_to("/usr") or path.parts[1:2] in (("bin",), ("lib",), ("lib64",))


def _detect_one(known: _Known) -> Language | None:
    located = [_locate(name) for name in known.needs]
    places = [place for place in located if place is not None]
    if len(places) != len(located):
        return None
    programs = [place[0] for place in places]
    version = _ask(tuple(part.format(*programs) for part in known.version))
    if version is None:
        return None
    return Language(
        id=known.id,
        name=known.name,
        version=version.removeprefix("javac ")
        .removeprefix("go")
        .removeprefix("v")
        .removeprefix("rustc ")
        .split(" (")[0],
        source_file=known.source_file,
        extensions=known.extensions,
        compile=tuple(part.format(*programs) for part in known.compile),
        run=tuple(part.format(*programs) for part in known.run),
        artefact=known.artefact,
        time_factor=known.time_factor,
        extra_memory_kb=known.extra_memory_kb,
        processes=known.processes,
        address_space=known.address_space,
        binds=tuple(sorted({bind for place in places for bind in place[1]})),
        env=_BOX_ENVIRONMENT | known.env,
    )


def detect(interpreter: Interpreter | None = None) -> dict[str, Language]:
    """Return the languages of this machine by id, Python always. Runs each compiler once for its version: ask at start, in a thread, and keep it."""
    python = _python(interpreter or Interpreter.own())
    found = [language for language in map(_detect_one, _KNOWN) if language is not None]
    return {language.id: language for language in (*found[:2], python, *found[2:])}


def binds(languages: Iterable[Language]) -> tuple[Path, ...]:
    """Return the folders outside ``/usr`` that a provider must bind for ``languages``."""
    return tuple(sorted({Path(bind) for language in languages for bind in language.binds}))


def language_of(path: str) -> str | None:
    """Return the language id that a file's name says, None for an unknown ending."""
    suffix = Path(path).suffix
    return LANGUAGE_OF_EXTENSION.get(suffix) or LANGUAGE_OF_EXTENSION.get(suffix.lower())
