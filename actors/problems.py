"""What pages show of a problem without opening its package: statement, samples, limits. Stored beside the package as JSON.

A statement is written by people and read by everybody, so it is sanitised here, once, when the package is imported: Markdown → HTML → only the elements below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Protocol

import msgspec
import nh3
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

_TAGS = {
    "a", "b", "blockquote", "br", "caption", "code", "dd", "del", "div", "dl", "dt", "em", "h2", "h3", "h4", "h5", "h6", "hr", "i", "kbd", "li", "ol", "p",
    "pre", "s", "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul", "var",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title"}, "td": {"align"}, "th": {"align"}, "ol": {"start"}}
_CLASSES = {"span": {"math"}, "div": {"math", "math-block"}}
_SCHEMES = {"http", "https", "mailto"}


class Sample(msgspec.Struct, frozen=True):
    """One published example."""

    name: str
    input: str
    answer: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A problem as people see it. Never anything of its hidden tests but their number."""

    title: str
    statement_html: str
    statement_source: str
    samples: tuple[Sample, ...]
    time_limit_ms: int
    memory_limit_kb: int
    output_limit_kb: int
    tests_total: int
    is_scored: bool = False
    author: str = ""
    license: str = ""


decode_summary = msgspec.json.Decoder(Summary).decode


def encode_summary(summary: Summary) -> bytes:
    """Return the summary as ``ImportProblem.summary`` keeps it."""
    return msgspec.json.encode(summary)


def statement_to_html(markdown: str) -> str:
    """Turn a statement's Markdown into HTML that is safe to show: no scripts, styles, images, frames or handlers, and only http(s) and mailto links.

    ``$…$`` and ``$$…$$`` become spans of readable text: a page needs no typesetting library, and none is loaded from elsewhere.
    """
    # Headings move one down, so that the page keeps the only h1.
    tokens = _MARKDOWN.parse(markdown.replace("\0", "\ufffd"))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    html = str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes=_CLASSES,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
    )


_COMMANDS = {
    "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "times": "×", "cdot": "·", "ldots": "…", "dots": "…", "cdots": "⋯", "infty": "∞",
    "in": "∈", "notin": "∉", "sum": "∑", "prod": "∏", "pm": "±", "approx": "≈", "equiv": "≡", "to": "→", "rightarrow": "→", "leftarrow": "←", "lfloor": "⌊",
    "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "lambda": "λ", "mu": "μ", "pi": "π",
    "sigma": "σ", "theta": "θ", "phi": "φ", "omega": "ω", "oplus": "⊕", "cup": "∪", "cap": "∩", "subset": "⊂", "subseteq": "⊆", "emptyset": "∅",
    "forall": "∀", "exists": "∃", "land": "∧", "lor": "∨", "neg": "¬", "mid": "|", "quad": " ", "log": "log", "min": "min", "max": "max", "gcd": "gcd",
    "mod": "mod", "bmod": "mod", "left": "", "right": "", "{": "{", "}": "}", "%": "%", "_": "_", "$": "$", "&": "&", "#": "#", ",": " ", ";": " ", " ": " ",
}  # fmt: skip
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathit|mathbf|mathtt|texttt|operatorname)\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_ROOT = re.compile(r"\\sqrt\{([^{}]*)\}")
_COMMAND = re.compile(r"\\([A-Za-z]+|.) ?", re.DOTALL)
_SCRIPT = re.compile(r"([\^_])(?:\{([^{}]*)\}|([^\s{}^_]))")


def math_to_html(tex: str) -> str:
    """Write simple TeX as text with ``<sup>`` and ``<sub>``; what is not understood is shown as it was written."""
    text = _WRAPPED.sub(r"\1", tex.strip()[:2000])
    text = _FRACTION.sub(r"(\1)/(\2)", text)
    text = _ROOT.sub(r"√(\1)", text)
    text = escape(_COMMAND.sub(lambda found: _COMMANDS.get(found[1], found[0]), text), quote=False)

    def script(found: re.Match[str]) -> str:
        tag = "sup" if found[1] == "^" else "sub"
        return f"<{tag}>{found[2] if found[2] is not None else found[3]}</{tag}>"

    text = _SCRIPT.sub(script, _SCRIPT.sub(script, text))
    return text.replace("{", "").replace("}", "") if "\\{" not in tex else text


def _render_math(content: str, options: dict[str, bool]) -> str:
    return math_to_html(content)


_MARKDOWN = (
    MarkdownIt("commonmark", {"html": True, "linkify": False})
    .enable(["table", "strikethrough"])
    .use(
        dollarmath_plugin,
        allow_labels=False,
        allow_space=True,
        allow_digits=True,
        double_inline=True,
        renderer=_render_math,
    )
)


class _SampleCase(Protocol):
    """What a summary needs of a sample of ``sandbox.package``."""

    @property
    def name(self) -> str: ...
    @property
    def input(self) -> bytes: ...
    @property
    def answer(self) -> bytes: ...


def make_samples(cases: Sequence[_SampleCase]) -> tuple[Sample, ...]:
    """Return samples as text; bytes that are not UTF-8 are replaced."""
    return tuple(
        Sample(case.name, case.input.decode("utf-8", "replace"), case.answer.decode("utf-8", "replace"))
        for case in cases
    )
