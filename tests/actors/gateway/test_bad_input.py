"""Bad input gets a clear 4xx, whatever it is, and breaks nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.gateway.bodies import BoundedBody, decode_json, decode_multipart, decode_query
from actors.gateway.cursors import PageQuery, decode_cursor, encode_cursor
from contracts.errors import CodeWarzError, Invalid, TooLarge
from contracts.messages import VerifyProblem
from tests.actors.gateway.conftest import House, Visitor, body_of

SIGNUP = "/api/v1/auth/signup"
JSON = {"Content-Type": "application/json"}
VALID = b'{"username":"eve","email":"e@x.y","password":"long enough"}'


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (VALID[:-5], 400),
        (b"[" * 100_000, 422),
        (b'{"username":' + b"[" * 60_000, 422),
        (b'{"x":' * 20_000, 422),
        (b"null", 422),
        (b"[]", 422),
        (b'"text"', 422),
        (b"1e999", 422),
        (b"\xff\xfe\x00", 400),
        (VALID.replace(b"eve", b"\xed\xa0\x80"), 400),
        (VALID.replace(b"eve", b"\\ud800"), 400),
        (VALID.replace(b"eve", b"e\x00e"), 400),
        (VALID.replace(b"eve", b"e\\u0000e"), 422),
        (VALID.replace(b"long enough", b"long\\u0000enough"), 422),
        (VALID.replace(b'"eve"', b"9" * 5000), 422),
        (VALID.replace(b'"eve"', b"1e9999"), 422),
        (VALID.replace(b'"eve"', b"true"), 422),
        (VALID.replace(b'"eve"', b"null"), 422),
        (VALID.replace(b"eve", b"eve\\n"), 422),
        (VALID.replace(b"eve", b"e" * 33), 422),
        (VALID.replace(b"long enough", b"p" * 257), 422),
        (VALID + b"x", 400),
        (b" " * 200_000, 413),
    ],
)
async def test_a_bad_body_is_a_clear_4xx(house: House, raw: bytes, status: int) -> None:
    response = await house.anonymous.request("POST", SIGNUP, data=raw, headers=JSON)
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    body = await body_of(response)
    assert body["status"] == status
    assert body["correlation_id"] == response.headers["x-correlation-id"]
    assert "Traceback" not in body["detail"]
    if status == 422:
        assert all(set(error) == {"pointer", "detail"} for error in body["errors"])
        assert body["errors"]


@pytest.mark.parametrize(
    "media", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x" * 500]
)
async def test_another_media_type_is_415(house: House, media: str | None) -> None:
    headers = {} if media is None else {"Content-Type": media}
    assert (await house.anonymous.request("POST", SIGNUP, data=VALID, headers=headers)).status_code == 415


async def test_a_charset_is_no_other_media_type(house: House) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert (await house.anonymous.request("POST", SIGNUP, data=VALID, headers=headers)).status_code == 201


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=-1", "limit=1e3", f"limit={'9' * 5000}", "limit=", "cursor=x", "cursor=%00", "cursor=W10", "cursor=e30",
     "cursor=WzEsICJ4Il0&limit=0", "cursor=" + "A" * 600, "cursor=WyJhIiwgImIiXQ", "cursor=%F0%9F%98%80", "cursor=WzFlOTk5LCAiYSJd"],
)  # fmt: skip
async def test_a_bad_query_is_422(house: House, query: str) -> None:
    response = await house.anonymous.get(f"/api/v1/contests?{query}")
    assert response.status_code == 422
    assert (await body_of(response))["errors"]


async def test_unknown_query_arguments_are_ignored(house: House) -> None:
    assert (await house.anonymous.get("/api/v1/contests?utm_source=x&%00=1&limit=5&limit=9")).status_code == 200


@pytest.mark.parametrize("bad", ["%00", "x" * 65, "a%20b", "..", "%2e%2e", "é", "%ff", "'", "a;b", "%0d%0a"])
@pytest.mark.parametrize(
    "path", ["/api/v1/contests/{}", "/api/v1/problems/{}", "/api/v1/leaderboard/{}", "/api/v1/leaderboard/stream/{}"]
)
async def test_an_identifier_of_another_shape_does_not_exist(house: House, path: str, bad: str) -> None:
    response = await house.anonymous.get(path.format(bad))
    assert response.status_code == 404
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1",
        "/api/v1/",
        "/api/v1/nothing",
        "/api/v1//contests",
        "/api/v1/contests/",
        "/api/v2/contests",
        "/health/",
        "/metrics/",
    ],
)
async def test_an_unknown_address_is_404(house: House, path: str) -> None:
    assert (await house.anonymous.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/api/v1/contests"),
        ("DELETE", "/api/v1/problems"),
        ("TRACE", "/api/v1/auth/me"),
        ("BREW", "/api/v1/contests"),
    ],
)
async def test_another_method_is_405_and_says_which_are_allowed(house: House, method: str, path: str) -> None:
    response = await house.anonymous.request(method, path)
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]
    assert response.content_type == "application/problem+json"


async def test_head_and_options_are_sensible(house: House) -> None:
    head = await house.anonymous.request("HEAD", "/api/v1/contests")
    assert head.status_code == 200
    options = await house.anonymous.request("OPTIONS", "/api/v1/contests")
    assert options.status_code == 200
    assert {"GET", "POST", "HEAD"} <= set(options.headers["Allow"].split(", "))


@pytest.mark.parametrize("host", ["a b", "x\x7f", "evil/..", "a" * 300, "h:port", "h:123456", "[x]", "a,b", ""])
async def test_a_host_that_is_none_is_400(house: House, host: str) -> None:
    assert (await house.anonymous.get("/api/v1/contests", headers={"Host": host})).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "judge.example.org"])
async def test_a_host_is_a_host(house: House, host: str) -> None:
    assert (await house.anonymous.get("/api/v1/contests", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("given_id", ["abc-1.2:3_X", "x" * 128])
async def test_a_valid_correlation_id_is_kept(house: House, given_id: str) -> None:
    response = await house.anonymous.get("/api/v1/contests", headers={"x-correlation-id": given_id})
    assert response.headers["x-correlation-id"] == given_id


@pytest.mark.parametrize("given_id", ["", "x" * 129, "a b", "é", "<script>", "a\tb"])
async def test_another_one_is_replaced(house: House, given_id: str) -> None:
    response = await house.anonymous.get("/api/v1/nothing", headers={"x-correlation-id": given_id})
    assert response.headers["x-correlation-id"] not in ("", given_id)


class TestContests:
    VALID = {"title": "T", "rules": "icpc", "start": "2027-01-16T08:00:00Z", "end": "2027-01-16T13:00:00Z"}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("start", "yesterday"),
            ("start", "2027-01-16"),
            ("start", "2027-01-16T08:00:00"),
            ("start", 1_800_000_000),
            ("start", "0001-01-01T00:00:00Z"),
            ("start", "9999-12-31T23:59:59Z"),
            ("end", "2027-01-16T08:00:00Z"),
            ("end", "2027-13-45T99:99:99Z"),
            ("freeze", "2027-01-17T08:00:00Z"),
            ("rules", "golf"),
            ("title", ""),
            ("title", "x" * 201),
            ("title", "a\0b"),
            ("visibility", "hidden"),
            ("extra", 1),
        ],
    )
    async def test_a_wrong_field_is_named(self, house: House, field: str, value: object) -> None:
        response = await house.root.post("/api/v1/contests", {**self.VALID, field: value})
        assert response.status_code == 422
        assert (await body_of(response))["errors"][0]["pointer"] == f"/{field}"

    async def test_times_may_have_another_offset(self, house: House) -> None:
        response = await house.root.post("/api/v1/contests", {**self.VALID, "start": "2027-01-16T10:30:00.5+02:00"})
        assert (await body_of(response))["start"] == "2027-01-16T08:30:00.500Z"


class TestPackages:
    def form(self, content: bytes, field: bytes = b"package") -> dict[str, Any]:
        head = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="p.zip"\r\n\r\n' % field
        return {
            "data": head + content + b"\r\n--b--\r\n",
            "headers": {"Content-Type": "multipart/form-data; boundary=b"},
        }

    async def answer(self, request: object, *, timeout: float) -> None:
        assert isinstance(request, VerifyProblem)
        raise Invalid(f"no package: {len(request.package)} bytes")

    async def test_the_bytes_arrive_as_they_were_sent(self, house: House) -> None:
        content = bytes(range(256)) * 1000 + b"\r\n--c\r\n"
        async with house.rpc.serve("judge", self.answer):
            response = await house.root.request("POST", "/api/v1/problems", **self.form(content))
        assert (response.status_code, (await body_of(response))["detail"]) == (422, f"no package: {len(content)} bytes")

    @pytest.mark.parametrize(
        ("data", "content_type", "status"),
        [
            (b"", "multipart/form-data; boundary=b", 400),
            (b"PK", "application/zip", 415),
            (b"x", "multipart/form-data", 415),
            (b"--b\r\n", "multipart/form-data; boundary=b", 400),
            (b"--b\r\nnonsense\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b", 400),
            (b"--b--\r\n", "multipart/form-data; boundary=b", 400),
            (b"--b\r\n" * 100_000, "multipart/form-data; boundary=b", 400),
            (b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n', "multipart/form-data; boundary=b", 422),
        ],
    )  # fmt: skip
    async def test_a_bad_form_is_a_clear_4xx(self, house: House, data: bytes, content_type: str, status: int) -> None:
        response = await house.root.request(
            "POST", "/api/v1/problems", data=data, headers={"Content-Type": content_type}
        )
        assert response.status_code in (status, 422)
        assert response.content_type == "application/problem+json"

    async def test_without_judges_it_is_a_503(self, house: House) -> None:
        response = await house.root.request("POST", "/api/v1/problems", **self.form(b"PK"))
        assert response.status_code == 503
        assert response.headers["Retry-After"]


async def test_a_source_above_its_limit_is_413_in_bytes_not_characters(house: House, ada: Visitor) -> None:
    await house.problem("add")
    fits = {"problem_id": "add", "language": "c", "source": "x" * 65_536}
    assert (await ada.post("/api/v1/submissions", fits)).status_code == 202
    response = await ada.post("/api/v1/submissions", {**fits, "source": "é" * 32_769})
    assert response.status_code == 413
    assert (await body_of(response))["errors"][0]["pointer"] == "/source"
    assert (await ada.post("/api/v1/runs", {**fits, "stdin": "x" * 65_537})).status_code == 413


async def test_a_chunked_body_is_bounded_too(house: House) -> None:
    client = house.app.test_client(use_cookies=False)
    headers = {**JSON, "Transfer-Encoding": "chunked"}
    async with client.request(SIGNUP, method="POST", headers=headers) as connection:
        for _ in range(40):
            await connection.send(b" " * 8192)
        await connection.send_complete()
    assert (await connection.as_response()).status_code == 413


async def test_a_body_that_does_not_come_is_408(house: House, autojump_clock: trio.testing.MockClock) -> None:
    client = house.app.test_client(use_cookies=False)
    async with client.request(SIGNUP, method="POST", headers={**JSON, "Content-Length": "500"}) as connection:
        await connection.send(b"{")
    response = await connection.as_response()
    assert response.status_code == 408


def refusal(read: Callable[[], object]) -> CodeWarzError | None:
    """Return the error with which something was refused, None when it was not."""
    try:
        read()
    except CodeWarzError as error:
        return error
    return None


class TestBodies:
    """The readers by themselves, with whatever Hypothesis thinks of."""

    class Thing(msgspec.Struct, forbid_unknown_fields=True):
        a: str
        b: int = 0
        c: list[str] = []

    @settings(max_examples=300)
    @given(st.binary(max_size=300))
    def test_bytes_decode_or_are_refused(self, raw: bytes) -> None:
        error = refusal(lambda: decode_json(raw, "application/json", self.Thing))
        assert error is None or 400 <= error.status < 500

    @settings(max_examples=300)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda x: st.lists(x) | st.dictionaries(st.text(), x),
            max_leaves=10,
        )
    )
    def test_values_decode_or_are_refused_with_pointers(self, value: object) -> None:
        try:
            raw = msgspec.json.encode(value)
        except (ValueError, OverflowError):
            return
        error = refusal(lambda: decode_json(raw, "application/json", self.Thing))
        assert error is None or error.errors
        assert error is None or all(each.pointer == "" or each.pointer.startswith("/") for each in error.errors)

    @given(st.dictionaries(st.sampled_from(["limit", "cursor", "x"]), st.text()))
    def test_queries_decode_or_are_invalid(self, given_query: dict[str, str]) -> None:
        error = refusal(lambda: decode_query(given_query, PageQuery))
        assert error is None or error.errors

    @given(st.text(max_size=600))
    def test_cursors_decode_or_are_invalid(self, text: str) -> None:
        error = refusal(lambda: decode_cursor(text, tuple[int, str]))
        assert error is None or error.errors[0].pointer == "/cursor"

    @given(
        st.integers(-(2**53), 2**53),
        st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    )
    def test_our_own_cursors_come_back(self, number: int, text: str) -> None:
        assert decode_cursor(encode_cursor(number, text), tuple[int, str]) == (number, text)

    @given(st.binary(max_size=400), st.binary(max_size=20))
    def test_forms_decode_or_are_refused(self, raw: bytes, noise: bytes) -> None:
        for body in (
            raw,
            b'--b\r\nContent-Disposition: form-data; name="package"\r\n\r\n' + raw + noise + b"\r\n--b--",
        ):
            error = refusal(partial(decode_multipart, body, "multipart/form-data; boundary=b", "package"))
            assert error is None or 400 <= error.status < 500

    def test_a_pointer_names_the_place(self) -> None:
        with pytest.raises(Invalid) as caught:
            decode_json(b'{"a":"x","c":["y",1],"d/e":2}', "application/json", self.Thing)
        assert {error.pointer for error in caught.value.errors} == {"/c/1", "/d~1e"}

    async def test_a_body_forgets_what_is_above_its_limit(self) -> None:
        body = BoundedBody(None, 10)
        for _ in range(100):
            body.append(b"x" * 9)
        assert body.is_over
        assert len(body._data) == 0
        with pytest.raises(TooLarge):
            await body.read(10, 1)


async def test_a_bug_says_nothing_of_the_inside(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the secret recipe")

    monkeypatch.setattr("actors.gateway.queries.contests", broken)
    response = await house.anonymous.get("/api/v1/contests")
    assert response.status_code == 500
    text = str(await response.get_data(as_text=True))
    assert "secret" not in text
    assert response.headers["x-correlation-id"] in text


async def test_a_broken_page_is_a_page(house: House) -> None:
    response = await house.anonymous.get("/nothing-here")
    assert response.status_code == 404
    assert response.content_type.startswith("text/html")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
