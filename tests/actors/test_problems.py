"""Statements: readable mathematics, nothing that could run, own images only."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.problems import IMAGE_MAX, decode_summary, math_to_html, statement_to_html, summarise
from sandbox.package import Limits, ProblemPackage, Resource, Statement
from sandbox.package import Test as Case

PNG = b"\x89PNG\r\n"


def package(**changes: object) -> ProblemPackage:
    fields: dict[str, object] = {
        "slug": "sum",
        "title": "Sum",
        "format": "2023-07",
        "statements": (Statement(language="en", kind="markdown", text="Add $a+b$."),),
        "tests": (
            Case(name="sample/1", input=b"1 2\n", answer=b"3\n", is_sample=True),
            Case(name="secret/1", input=b"SECRET IN", answer=b"SECRET OUT"),
        ),
        "limits": Limits(time_ms=1500, memory_kb=262144),
    }
    return ProblemPackage(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<img src='https://elsewhere.example/pixel.png'>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "<a href='  JaVaScRiPt:alert(1)'>x</a>",
        "<iframe src='//x'></iframe><object data=x></object><embed src=x>",
        "<p style='position:fixed' onclick='x()' id=a>hi</p>",
        "<svg onload=alert(1)><style>@import 'x'</style></svg>",
        "<form action='//x'><input name=a></form><base href='//x'><meta http-equiv=refresh content=0>",
        "$<script>alert(1)</script>$",
        "$$</div><img src=x onerror=alert(1)>$$",
        "<div class='navigation math'>x</div>",
    ],
)
def test_nothing_hostile_survives(hostile: str) -> None:
    tags = " ".join(re.findall(r"<[^>]*>", statement_to_html(hostile).lower()))  # escaped text may say what it likes
    for bad in (
        "script",
        "onerror",
        "onclick",
        "onload",
        "data:",
        "iframe",
        "object",
        "embed",
        "style",
        "svg",
        "form",
        "base",
        "meta",
        "id=",
    ):
        assert bad not in tags, tags
    assert "navigation" not in tags
    assert "elsewhere" not in tags


@given(st.text(max_size=300))
def test_any_text_becomes_some_html_without_a_script(text: str) -> None:
    assert "<script" not in statement_to_html(text).lower()


@pytest.mark.parametrize(
    ("tex", "html"),
    [
        (r"1 \le n \le 10^5", "1 ≤ n ≤ 10<sup>5</sup>"),
        (r"a_i^{2k}", "a<sub>i</sub><sup>2k</sup>"),
        (r"\sum_{i=1}^{n} a_i", "∑<sub>i=1</sub><sup>n</sup> a<sub>i</sub>"),
        (r"\frac{a}{b}", "(a)/(b)"),
        (r"\text{if } x < y", "if  x &lt; y"),
        (r"\unknown{x}", r"\unknownx"),
    ],
)
def test_simple_mathematics_is_text(tex: str, html: str) -> None:
    assert math_to_html(tex) == html


def test_headings_leave_the_h1_to_the_page() -> None:
    assert statement_to_html("# A\n\n###### B") == "<h2>A</h2>\n<h6>B</h6>\n"


def test_money_is_no_mathematics() -> None:
    assert "math" not in statement_to_html("It costs $5 and $6.")


def test_images_come_from_the_package_only() -> None:
    html = statement_to_html(
        "![plan](figs/plan.png) ![x](gone.png) ![y](big.png)", {"plan.png": PNG, "big.png": b"x" * (IMAGE_MAX + 1)}
    )
    assert 'src="data:image/png;base64,' in html
    assert html.count("data:") == 1


def test_a_summary_has_samples_and_limits_and_no_hidden_test() -> None:
    encoded = summarise(package(resources=(Resource("plan.png", PNG),)))
    assert b"SECRET" not in encoded
    summary = decode_summary(encoded)
    assert [(each.input, each.answer) for each in summary.samples] == [("1 2\n", "3\n")]
    assert (summary.time_limit_ms, summary.memory_limit_kb, summary.tests_total) == (1500, 262144, 2)
    assert summary.statement_source == "Add $a+b$."
    assert msgspec.json.decode(encoded)["title"] == "Sum"


def test_english_markdown_is_preferred_and_latex_shown_as_it_is() -> None:
    swedish = Statement(language="sv", kind="markdown", text="Hej")
    latex = Statement(language="en", kind="latex", text=r"\section{Hi} <b>")
    assert (
        decode_summary(summarise(package(statements=(swedish, latex)))).statement_html
        == r"<pre><code>\section{Hi} &lt;b&gt;</code></pre>"
    )
    english = Statement(language="en", kind="markdown", text="Hello")
    assert decode_summary(summarise(package(statements=(swedish, latex, english)))).statement_html == "<p>Hello</p>\n"
    assert decode_summary(summarise(package(statements=()))).statement_html == ""


def test_bytes_that_are_no_text_are_replaced() -> None:
    sample = Case(name="sample/1", input=b"\xff", answer=b"\xfe", is_sample=True)
    assert decode_summary(summarise(package(tests=(sample,)))).samples[0].input == "\ufffd"


def test_a_wide_table_with_many_short_rows_does_not_grow_into_millions_of_cells() -> None:
    bomb = "|a" * 3000 + "\n" + "|-" * 3000 + "\n" + "|a|\n" * 2000
    assert len(statement_to_html(bomb)) < 4 * len(bomb)
    table = "| n | answer |\n|---|---|\n" + "| 1 | 2 |\n" * 2000
    assert statement_to_html(table).count("<tr>") == 2001
