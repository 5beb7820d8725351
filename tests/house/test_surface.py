"""What the outside can do to a running house: every bad input gets a clear refusal, and nothing else notices."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.house.client import PASSWORD, Answer, Client
from tests.house.conftest import NewServer
from tests.house.judging import count
from tests.house.programs import packages
from tests.house.server import Server, until

pytestmark = pytest.mark.sandbox

MIB = 1 << 20
AC = "m, t, k = map(int, input().split())\nprint((k - 1) * (t // m))"
TINY: dict[str, str | bytes] = {
    "tiny/problem.yaml": "name: Tiny\nlimits:\n  time_limit: 1\n",
    "tiny/problem_statement/problem.en.md": "Repeat the word.\n",
    "tiny/data/sample/1.in": "hello\n",
    "tiny/data/sample/1.ans": "hello\n",
    "tiny/data/secret/1.in": "the-hidden-word-of-tiny\n",
    "tiny/data/secret/1.ans": "the-hidden-word-of-tiny\n",
    "tiny/submissions/accepted/echo.py": "print(input())\n",
}


@pytest.fixture(scope="module")
def house(new_server: NewServer) -> Iterator[Server]:
    server = new_server(workers=2)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(house: Server) -> Iterator[Server]:
    """The running house, which no test may have shaken."""
    yield house
    house.assert_untroubled()


@pytest.fixture(scope="module")
def admin(house: Server) -> Client:
    return house.admin()


@pytest.fixture(scope="module")
def ada(house: Server) -> Client:
    return house.user("ada")


@pytest.fixture(scope="module")
def bob(house: Server) -> Client:
    return house.user("bob")


@pytest.fixture(scope="module")
def contest_id(house: Server, ada: Client, bob: Client) -> str:
    """The demo contest, which is running; Ada and Bob take part."""
    contest_id = str(house.visitor().contest()["id"])
    ada.register(contest_id)
    bob.register(contest_id)
    return contest_id


@pytest.fixture(scope="module")
def problem_id(house: Server, contest_id: str) -> str:
    return str(house.visitor().problems(contest_id)["firstlight"]["problem_id"])


@pytest.fixture(scope="module")
def adas(ada: Client, contest_id: str, problem_id: str) -> str:
    """A submission of Ada's, judged and wrong."""
    submission_id = ada.submit(problem_id, "python", "print('the secret idea')", contest_id=contest_id)
    assert ada.judged(submission_id)["verdict"] == "WA"
    return submission_id


# ---- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"", (400, 422)),
        (b"{", (400,)),
        (b'{"problem_id": "x", "langu', (400,)),
        (b"\xff\xfe\x00", (400,)),
        (b'{"problem_id": "\xc3"}', (400, 422)),
        (b"[" * 100_000, (400, 422)),
        (b'{"problem_id": ' * 5_000, (400, 422)),
        (b"null", (422,)),
        (b"[]", (422,)),
        (b'"text"', (422,)),
        (b'{"problem_id": 1, "language": [], "source": {}}', (422,)),
        (b'{"problem_id": 1e400, "language": "c", "source": "x"}', (400, 422)),
        (b'{"problem_id": "P", "language": "python", "source": "print(1)\\u0000"}', (422,)),
        (b'{"problem_id": "P", "language": "python", "source": "\\ud800"}', (400, 422)),
        (b'{"problem_id": "\\u0000", "language": "python", "source": "x"}', (422,)),
        (b'{"problem_id": "P", "language": "cobol", "source": "x"}', (422,)),
        (b'{"problem_id": "P", "language": "python", "source": ""}', (422,)),
        (b'{"problem_id": "P", "language": "python", "source": "x", "verdict": "AC"}', (422,)),
        (b'{"problem_id": "nobody-knows", "language": "python", "source": "x"}', (404, 422)),
        (b'{"problem_id": "P", "language": "python", "source": "x", "contest_id": "none"}', (404, 422)),
        (b'{"problem_id": "P", "language": "python", "source": "' + b"x" * 66_000 + b'"}', (413,)),
        (b" " * (2 * MIB), (413,)),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else None,
)
def test_a_bad_body_is_refused(
    server: Server, ada: Client, problem_id: str, body: bytes, statuses: tuple[int, ...]
) -> None:
    before = count(server, "SELECT count(*) FROM submissions")
    body = body.replace(b'"P"', json.dumps(problem_id).encode())
    ada.post("/api/v1/submissions", body=body, headers={"Content-Type": "application/json"}).expect_problem(*statuses)
    assert count(server, "SELECT count(*) FROM submissions") == before


def test_a_body_that_breaks_off_hurts_nobody(server: Server, ada: Client) -> None:
    cookie = ada.headers("POST")["Cookie"]
    head = (
        "POST /api/v1/submissions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Cookie: {cookie}\r\nX-CSRF-Token: {ada.csrf_token}\r\n"
    )
    for rest in (
        "Content-Length: 1000\r\n\r\n{",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        "Content-Length: -1\r\n\r\n",
        "",
    ):
        received = ada.raw((head + rest).encode())
        assert received == b"" or received.startswith(b"HTTP/1.1 4"), received[:200]


def test_a_body_announced_as_huge_is_refused_without_being_read(server: Server, admin: Client) -> None:
    for path, size in (("/api/v1/submissions", 10**12), ("/api/v1/problems", 33 * MIB)):
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n"
            f"Cookie: {admin.headers('POST')['Cookie']}\r\nX-CSRF-Token: {admin.csrf_token}\r\n\r\n"
        )
        received = admin.raw(head.encode() + b"x" * 1000, end=False)
        assert received.startswith(b"HTTP/1.1 413"), received[:300]


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET / HTTP/9.9",
        b"\x16\x03\x01\x02",
        b"GET nothing HTTP/1.1",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1",
        b"\0" * 100,
    ],
    ids=lambda line: repr(line[:16]),
)
def test_what_is_not_http_is_refused(server: Server, ada: Client, request_line: bytes) -> None:
    received = ada.raw(request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert received == b"" or received.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), received[:200]


# ---- whose is it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", ["01M00000000000000000000000", "x", "..%2f..%2fetc", "%00", "a" * 65, "%ed%a0%80"])
@pytest.mark.parametrize(
    "path",
    ["/submissions/{}", "/submissions/{}/stream", "/runs/{}", "/problems/{}", "/contests/{}", "/contests/{}/problems",
     "/leaderboard/{}", "/leaderboard/stream/{}"],
)  # fmt: skip
def test_what_does_not_exist_is_404(server: Server, ada: Client, path: str, unknown: str) -> None:
    ada.get("/api/v1" + path.format(unknown)).expect_problem(404)


def test_somebody_elses_submission_does_not_exist(
    server: Server, ada: Client, bob: Client, admin: Client, adas: str
) -> None:
    for path in (f"/api/v1/submissions/{adas}", f"/api/v1/submissions/{adas}/stream", f"/api/v1/runs/{adas}"):
        bob.get(path).expect_problem(404)
        server.visitor().get(path).expect_problem(401)
    assert b"secret idea" not in bob.get("/api/v1/submissions").body
    assert bob.get(f"/api/v1/submissions?user_id={ada.user_id}").json["items"] == []
    assert admin.submission(adas)["source"] == "print('the secret idea')"


def test_only_staff_may_do_what_staff_does(server: Server, bob: Client, adas: str) -> None:
    contest = bob.contest()
    for method, path, body in (
        ("POST", "/contests", {"title": "Mine"}),
        ("PATCH", f"/contests/{contest['id']}", {"title": "Mine"}),
        ("POST", f"/contests/{contest['id']}/problems", {"problem_id": "x", "label": "Z"}),
        ("POST", "/rejudgings", {"submission_id": adas}),
        ("POST", "/problems", {}),
    ):
        bob.request(method, f"/api/v1{path}", body).expect_problem(403)
    bob.get(f"/api/v1/leaderboard/{contest['id']}?view=jury").expect_problem(403)


@cache
def secrets() -> frozenset[str]:
    """Texts that are only in hidden tests: whole inputs and answers, too long to turn up by chance, and in no sample or statement."""
    found = set()
    for package in packages().values():
        public = "".join(
            [*(statement.text for statement in package.statements)]
            + [(test.input + test.answer).decode() for test in package.samples]
        )
        for test in package.tests:
            for text in (test.input.decode().strip(), test.answer.decode().strip()):
                start = text[:60]
                if not test.is_sample and len(start) >= 12 and start not in public:
                    found.add(start)
    return frozenset(found)


def strings(value: object) -> Iterator[str]:
    """Every text in an answer, wherever it is."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def test_hidden_tests_are_in_no_answer(server: Server, ada: Client, admin: Client, adas: str) -> None:
    assert len(secrets()) > 50
    contest = ada.contest()
    problems = ada.problems(contest["id"])
    assert set(problems) == set(packages())
    run = ada.post(
        "/api/v1/runs",
        {
            "problem_id": problems["firstlight"]["problem_id"],
            "language": "python",
            "source": "print(1)",
            "contest_id": contest["id"],
        },
    ).expect(202)
    until(lambda: ada.get(f"/api/v1/runs/{run.json['run_id']}").json["state"] == "judged", "the run is over")
    paths = ["/problems", f"/contests/{contest['id']}", f"/contests/{contest['id']}/problems"]
    paths += [f"/problems/{problem['problem_id']}" for problem in problems.values()]
    paths += [f"/submissions/{adas}", f"/runs/{run.json['run_id']}"]
    for path in paths:
        for client in (server.visitor(), ada):
            answer = client.get(f"/api/v1{path}")
            if answer.status == 401:
                continue
            texts = "\n".join(strings(answer.expect(200).json))
            assert [secret for secret in secrets() if secret in texts] == [], path
    for problem in problems.values():
        page = ada.get(f"/contests/{contest['id']}/problems/{problem['label']}")
        assert [secret for secret in secrets() if secret in page.body.decode()] == []


def test_a_contest_that_has_not_started_keeps_its_problems_to_itself(
    server: Server, ada: Client, admin: Client
) -> None:
    imported = upload(admin, zipped(TINY)).expect(201).json
    assert imported["report"]["is_clean"], imported
    tiny = imported["problem_id"]
    start = datetime.now(UTC) + timedelta(hours=1)
    contest = admin.post(
        "/api/v1/contests",
        {
            "title": "Tomorrow",
            "rules": "icpc",
            "start": start.isoformat(),
            "end": (start + timedelta(hours=5)).isoformat(),
        },
    ).expect(201)
    contest_id = contest.json["id"]
    admin.post(f"/api/v1/contests/{contest_id}/problems", {"problem_id": tiny, "label": "A"}).expect(201)
    ada.register(contest_id)

    for client in (ada, server.visitor()):
        listed = client.get(f"/api/v1/contests/{contest_id}/problems")
        assert listed.status in (403, 404) or listed.json["items"] == [], listed.body
        client.get(f"/api/v1/problems/{tiny}").expect_problem(403, 404)
        assert tiny not in client.get("/api/v1/problems").body.decode()
        assert b"Tiny" not in client.get(f"/contests/{contest_id}").body
    body = {"problem_id": tiny, "language": "python", "source": "print(input())"}
    for contest_field in ({}, {"contest_id": contest_id}):
        ada.post("/api/v1/submissions", body | contest_field).expect_problem(403, 404, 409, 422)
        ada.post("/api/v1/runs", body | contest_field).expect_problem(403, 404, 409, 422)


# ---- who is it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [{"role": "admin"}, {"is_staff": True}, {"id": "1"}, {"user": {"role": "admin"}}])
def test_nobody_signs_up_as_more_than_a_contestant(server: Server, extra: dict[str, Any]) -> None:
    body = {"username": "mallory", "email": "mallory@example.org", "password": PASSWORD}
    server.visitor().post("/api/v1/auth/signup", body | extra).expect_problem(422)
    assert count(server, "SELECT count(*) FROM users WHERE username = 'mallory'") == 0


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_forged_tokens_are_nobodys(server: Server, bob: Client, admin: Client) -> None:
    head, payload, signature = bob.cookies["cw_access"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    better = encoded(claims | {"role": "admin", "sub": admin.user_id, "exp": claims["exp"] + 10**6})
    forged = [
        f"{head}.{better}.{signature}",
        f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{better}.",
        f"{encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': '../../dev/null'})}.{better}.{signature}",
        f"{head}.{payload}.{signature[:-2]}",
        "a.b.c",
        "\xff" * 10,
        "x" * 5000,
    ]
    for cookie in forged:
        headers = {"Cookie": f"cw_access={cookie}", "X-CSRF-Token": bob.csrf_token}
        thief = server.visitor()
        thief.get("/api/v1/auth/me", headers=headers).expect_problem(401)
        thief.post("/api/v1/contests", {"title": "x"}, headers=headers).expect_problem(401, 403)
    for token in ("", "cw_", "cw_unknown", "Bearer", "x" * 3000, admin.cookies["cw_access"]):
        server.visitor().get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"}).expect_problem(401)


def test_tokens_end_when_they_are_revoked_signed_out_or_used_twice(server: Server) -> None:
    client = server.user("replay")
    script = client.with_token()
    script.get("/api/v1/auth/me").expect(200)
    token_id = client.get("/api/v1/auth/tokens").json["items"][0]["id"]
    client.delete(f"/api/v1/auth/tokens/{token_id}").expect(204)
    script.get("/api/v1/auth/me").expect_problem(401)

    old = dict(client.cookies)
    client.post("/api/v1/auth/refresh").expect(200)
    assert client.cookies["cw_refresh"] != old["cw_refresh"]
    client.post("/api/v1/auth/refresh").expect(200)
    client.post("/api/v1/auth/signout").expect(204)
    thief = Client(server, cookies=old, csrf_token=client.csrf_token)
    thief.get("/api/v1/auth/me").expect_problem(401)
    thief.post("/api/v1/auth/refresh").expect_problem(401)


def test_without_its_csrf_token_a_session_changes_nothing(
    server: Server, ada: Client, bob: Client, contest_id: str, problem_id: str
) -> None:
    before = count(server, "SELECT count(*) FROM submissions")
    body = {"problem_id": problem_id, "language": "python", "source": AC, "contest_id": contest_id}
    for token in (None, "", "0" * 64, bob.csrf_token, "ü"):
        value = token.encode("utf-8").decode("latin-1") if token else token
        ada.post("/api/v1/submissions", body, headers={"X-CSRF-Token": value}).expect_problem(403)
        ada.post("/api/v1/auth/signout", headers={"X-CSRF-Token": value}).expect_problem(403)
    assert count(server, "SELECT count(*) FROM submissions") == before
    ada.get("/api/v1/auth/me").expect(200)


# ---- packages --------------------------------------------------------------------------------------------------------


def zipped(files: dict[str, str | bytes], *, links: dict[str, str] | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, target in (links or {}).items():
            link = zipfile.ZipInfo(name)
            link.create_system, link.external_attr = 3, 0o120777 << 16
            archive.writestr(link, target)
    return packed.getvalue()


def bomb() -> bytes:
    """A package whose hidden test unpacks to a gigabyte."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in TINY.items():
            archive.writestr(name, content)
        with archive.open("tiny/data/secret/2.in", "w", force_zip64=True) as file:
            for _ in range(1024):
                file.write(bytes(MIB))
    return packed.getvalue()


def lying() -> bytes:
    """A zip whose directory says that a file of many megabytes is one byte long."""
    packed = bytearray(zipped(TINY | {"tiny/data/secret/3.in": bytes(64 * MIB)}))
    size = (64 * MIB).to_bytes(4, "little")
    return bytes(packed.replace(size, (1).to_bytes(4, "little")))


def upload(client: Client, package: bytes) -> Answer:
    boundary = "a-boundary"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="package"; filename="p.zip"\r\n\r\n'
    body = head.encode() + package + f"\r\n--{boundary}--\r\n".encode()
    return client.post(
        "/api/v1/problems", body=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )


HOSTILE: dict[str, Callable[[], bytes]] = {
    "no zip": lambda: b"this is no zip",
    "empty": lambda: b"",
    "broken off": lambda: zipped(TINY)[:-40],
    "an empty zip": lambda: zipped({}),
    "no problem": lambda: zipped({"readme.txt": "hello"}),
    "above": lambda: zipped(TINY | {"tiny/../../above.txt": "x", "../above.txt": "x"}),
    "absolute": lambda: zipped(TINY | {"/tmp/above.txt": "x"}),
    "backslash": lambda: zipped(TINY | {"tiny\\..\\..\\above.txt": "x"}),
    "link": lambda: zipped(
        TINY, links={"tiny/data/secret/2.in": "/etc/passwd", "tiny/data/secret/2.ans": "/etc/passwd"}
    ),
    "bomb": bomb,
    "lying": lying,
    "crowd": lambda: zipped(TINY | {f"tiny/data/secret/n{number}.in": "" for number in range(30_000)}),
    "yaml": lambda: zipped(TINY | {"tiny/problem.yaml": "name: !!python/object/apply:os.system ['touch above.txt']\n"}),
    "yaml bomb": lambda: zipped(
        TINY
        | {
            "tiny/problem.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
            + "name: *i\n"
        }
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_package_is_refused(server: Server, admin: Client, kind: str) -> None:
    before = count(server, "SELECT count(*) FROM problem_versions")
    upload(admin, HOSTILE[kind]()).expect_problem(400, 413, 422)
    assert count(server, "SELECT count(*) FROM problem_versions") == before
    assert list(server.folder.rglob("above.txt")) == []
    assert not Path("/tmp/above.txt").exists()


# ---- idempotency -----------------------------------------------------------------------------------------------------


def test_one_key_of_two_people_is_two_submissions(
    server: Server, ada: Client, bob: Client, contest_id: str, problem_id: str
) -> None:
    first, second = (
        client.submit(problem_id, "python", AC, contest_id=contest_id, key="our key") for client in (ada, bob)
    )
    assert first != second
    bob.get(f"/api/v1/submissions/{first}").expect_problem(404)


def test_one_key_of_one_person_in_two_places_is_one_submission(
    server: Server, contest_id: str, problem_id: str
) -> None:
    eve = server.user("eve")
    before = count(server, "SELECT count(*) FROM submissions")

    def submit(_: int) -> str:
        return eve.submit(problem_id, "python", AC, contest_id=contest_id, key="one key")

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(submit, range(8)))
    assert len(answers) == 1
    assert count(server, "SELECT count(*) FROM submissions") == before + 1
    body = {"problem_id": problem_id, "language": "python", "source": AC + "\n# changed", "contest_id": contest_id}
    eve.post("/api/v1/submissions", body, headers={"Idempotency-Key": "one key"}).expect_problem(422)
    for key in ("", "x" * 300, "caf\xe9"):
        eve.post("/api/v1/submissions", body, headers={"Idempotency-Key": key}).expect_problem(422)


# ---- everything the document says ------------------------------------------------------------------------------------

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.parametrize("who", ["admin", "nobody"])
def test_schemathesis_finds_no_5xx_and_nothing_undocumented(server: Server, admin: Client, who: str) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/api/v1/openapi.json", "--checks", CHECKS,
        "--max-examples", "15", "--phases", "examples,coverage,fuzzing", "--mode", "all",
        "--seed", "1", "--generation-deterministic", "--request-timeout", "20", "--suppress-health-check", "all",
    ]  # fmt: skip
    if who == "admin":
        command += ["--header", f"Authorization: Bearer {admin.with_token().api_token}"]
    (server.folder / "schemathesis.toml").write_text("max-stream-events = 1\n")  # a stream has no end to wait for
    done = subprocess.run(command, cwd=server.folder, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
