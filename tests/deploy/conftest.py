"""What the tests of a deployment look at."""

from __future__ import annotations

import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

TOP = Path(__file__).resolve().parent.parent.parent
ASKED_FOR = re.compile(r"\$\{(\w+):\?[^}]+\}")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::?[-?][^}]*)?\}")


def script(name: str) -> ModuleType:
    """Return a script of deploy/ as a module."""
    loader = SourceFileLoader(Path(name).name.replace("-", "_"), str(TOP / "deploy" / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def text() -> str:
    return (TOP / "compose.yaml").read_text()


@pytest.fixture(scope="session")
def compose(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture(scope="session")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found
