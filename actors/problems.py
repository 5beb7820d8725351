"""What pages show of a problem without opening its package: statement, samples, limits. Stored beside the package as JSON.

A statement is written by people and read by everybody, so it is sanitised here, once, when the package is imported: Markdown → HTML → only the elements below.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape

import msgspec
import nh3
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from sandbox.package import ProblemPackage, Statement

_TAGS = {
    "a", "b", "blockquote", "br", "caption", "code", "dd", "del", "div", "dl", "dt", "em", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "kbd", "li", "ol",
    "p", "pre", "s", "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul", "var",
}  # fmt: skip
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title"},
    "td": {"align"},
    "th": {"align"},
    "ol": {"start"},
}
_CLASSES = {"span": {"math"}, "div": {"math", "math-block"}}
_SCHEMES = {"http", "https", "mailto", "data"}  # data for own images only
_IMAGES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "svg": "image/svg+xml",
}
IMAGE_MAX = 512 * 1024
CELLS_MAX = 100_000  # that the tables of one text could have at most


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
    source_limit_kb: int = 64
    tests_total: int
    languages: tuple[str, ...] = ()  # allowed ones; none means all
    is_scored: bool = False
    author: str = ""
    license: str = ""


decode_summary = msgspec.json.Decoder(Summary).decode


def statement_to_html(markdown: str, images: Mapping[str, bytes] | None = None) -> str:
    """Turn a statement's Markdown into HTML that is safe to show: no scripts, styles, frames or handlers, only http(s) and mailto links.

    Images come from the package (``images`` by file name) as data, never from elsewhere: a reader's address is nobody's business.

    ``$…$`` and ``$$…$$`` become spans of readable text: a page needs no typesetting library, and none is loaded from elsewhere.
    """
    # Headings move one down, so that the page keeps the only h1.
    parser = _parser_for(markdown)
    tokens = parser.parse(markdown.replace("\0", "\ufffd"))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
        for child in token.children or ():
            if child.type == "image":
                name = str(child.attrs.get("src", "")).rsplit("/", 1)[-1]
                child.attrs["src"] = _as_data(name, (images or {}).get(name))
    html = str(parser.renderer.render(tokens, parser.options, {}))
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes=_CLASSES,
        url_schemes=_SCHEMES,
        attribute_filter=_only_own_images,
        link_rel="noopener noreferrer nofollow",
    )


def _as_data(name: str, content: bytes | None) -> str:
    media = _IMAGES.get(name.rsplit(".", 1)[-1].lower())
    if content is None or media is None or len(content) > IMAGE_MAX:
        return ""
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def _only_own_images(_tag: str, attribute: str, value: str) -> str | None:
    is_data = value.lstrip().lower().startswith("data:")
    if attribute == "src":
        return value if is_data and value.startswith("data:image/") else None
    return None if is_data else value


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
_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
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


def _render_math(content: str, _options: dict[str, bool]) -> str:
    return math_to_html(content)


def _markdown(*rules: str) -> MarkdownIt:
    return (
        MarkdownIt("commonmark", {"html": True, "linkify": False})
        .enable(["strikethrough", *rules])
        .use(
            dollarmath_plugin,
            allow_labels=False,
            allow_space=False,
            allow_digits=False,
            double_inline=True,
            renderer=_render_math,
        )
    )


_MARKDOWN, _WITHOUT_TABLES = _markdown("table"), _markdown()


def _parser_for(markdown: str) -> MarkdownIt:
    """Short rows of a table are filled up to the width of the first: a wide first row and many short ones make millions of cells out of a few KB."""
    lines = markdown.split("\n")
    cells = max(line.count("|") for line in lines) * len(lines)
    return _MARKDOWN if cells <= CELLS_MAX else _WITHOUT_TABLES


def summarise(package: ProblemPackage) -> bytes:
    """Return what pages show of a package, as ``ImportProblem.summary`` keeps it."""
    limits = package.limits
    statement = _statement(package)
    images = {each.name: each.content for each in package.resources}
    summary = Summary(
        title=package.title,
        statement_html=_to_html(statement, images),
        statement_source=statement.text if statement is not None else "",
        samples=tuple(Sample(each.name, _text(each.input), _text(each.answer)) for each in package.samples),
        time_limit_ms=limits.time_ms,
        memory_limit_kb=limits.memory_kb,
        output_limit_kb=limits.output_kb,
        source_limit_kb=limits.code_kb,
        tests_total=len(package.tests),
        languages=package.languages,
        is_scored=package.is_scoring,
        author=package.author,
        license=package.license,
    )
    return msgspec.json.encode(summary)


def _statement(package: ProblemPackage) -> Statement | None:
    """The statement to show: English before others, Markdown before LaTeX."""
    ranked = sorted(package.statements, key=lambda each: (each.language != "en", each.kind != "markdown"))
    return ranked[0] if ranked else None


def _to_html(statement: Statement | None, images: Mapping[str, bytes]) -> str:
    if statement is None:
        return ""
    if statement.kind == "markdown":
        return statement_to_html(statement.text, images)
    # LaTeX needs a typesetter; its source is honest and readable.
    return f"<pre><code>{escape(statement.text)}</code></pre>"


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")
