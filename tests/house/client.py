"""Somebody at the other end of HTTP: cookies, CSRF, JSON and server-sent events, in nothing but the standard library.

One connection a request: what is tested here is the house, and a connection that outlived a killed server would only tell about itself.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.cookies import SimpleCookie
from typing import Any, Protocol

TIMEOUT_S = 60.0
PASSWORD = "a password of some length"
POLL_S = 0.1


class Place(Protocol):
    """Where the server is; asked anew for every request, because a restarted one may have moved."""

    @property
    def port(self) -> int: ...


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        """The body as data."""
        return json.loads(self.body)

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0]

    def expect(self, *statuses: int) -> Answer:
        """Return itself; AssertionError with the body when the status is another."""
        assert self.status in statuses, f"{self.status} instead of {statuses}: {self.body[:1000]!r}"
        return self

    def expect_problem(self, *statuses: int) -> Answer:
        """Return itself: a refusal of one of these statuses, as problem details that a person can read."""
        self.expect(*statuses)
        assert self.media_type == "application/problem+json", self.headers
        assert self.json["status"] == self.status
        assert self.json["title"]
        assert self.json["detail"]
        assert "Traceback" not in self.body.decode()
        return self


@dataclass(frozen=True)
class ServerEvent:
    """One server-sent event."""

    name: str
    data: Any
    id: str


@dataclass
class Client:
    """One person with one set of cookies."""

    place: Place
    username: str = ""
    user_id: str = ""
    csrf_token: str = ""
    api_token: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    # ---- requests ----------------------------------------------------------------------------------------------------

    def headers(self, method: str) -> dict[str, str]:
        """What this person's browser (or script) sends along."""
        if self.api_token:
            return {"Authorization": f"Bearer {self.api_token}"}
        headers = {}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self.csrf_token and method not in ("GET", "HEAD"):
            headers["X-CSRF-Token"] = self.csrf_token
        return headers

    def request(
        self,
        method: str,
        path: str,
        json_body: Any = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """Send one request; a header given as None is left out."""
        sent: dict[str, str | None] = dict(self.headers(method))
        if json_body is not None:
            body = json.dumps(json_body).encode()
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        connection = http.client.HTTPConnection("127.0.0.1", self.place.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, {name: value for name, value in sent.items() if value is not None})
            response = connection.getresponse()
            answer = Answer(response.status, _lower(response), response.read())
            self._keep(response)
        finally:
            connection.close()
        return answer

    def get(self, path: str, **kwargs: Any) -> Answer:
        """Read."""
        return self.request("GET", path, **kwargs)

    def post(self, path: str, json_body: Any = None, **kwargs: Any) -> Answer:
        """Change."""
        return self.request("POST", path, json_body, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> Answer:
        """Take away."""
        return self.request("DELETE", path, **kwargs)

    def raw(self, data: bytes, *, end: bool = True) -> bytes:
        """Send bytes as they are (and the end of them), and return everything that comes back until the connection closes."""
        with socket.create_connection(("127.0.0.1", self.place.port), timeout=TIMEOUT_S) as connection:
            received = bytearray()
            with suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough, and what it said comes first
                connection.sendall(data)
            with suppress(OSError):
                if end:
                    connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while chunk := connection.recv(65_536):
                    received += chunk
        return bytes(received)

    def _keep(self, response: http.client.HTTPResponse) -> None:
        for header in response.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(header).items():
                if morsel.value and morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)

    # ---- the story ---------------------------------------------------------------------------------------------------

    def signup(self, username: str) -> None:
        """Make an account and sign in."""
        body = {"username": username, "email": f"{username}@example.org", "password": PASSWORD}
        self._enter(self.post("/api/v1/auth/signup", body).expect(201))

    def signin(self, username: str, password: str = PASSWORD) -> None:
        """Sign in."""
        self._enter(self.post("/api/v1/auth/signin", {"username": username, "password": password}).expect(200))

    def _enter(self, answer: Answer) -> None:
        self.csrf_token = answer.json["csrf_token"]
        self.user_id = answer.json["user"]["id"]
        self.username = answer.json["user"]["username"]

    def with_token(self) -> Client:
        """The same person as a script: with a personal API token instead of cookies."""
        made = self.post("/api/v1/auth/tokens", {"name": "a script"}).expect(201).json
        return Client(self.place, self.username, self.user_id, api_token=made["token"])

    def contest(self) -> dict[str, Any]:
        """The newest contest (the demo one, unless a test made another)."""
        contests = self.get("/api/v1/contests").expect(200).json["items"]
        return dict(contests[0]) if contests else {}

    def problems(self, contest_id: str) -> dict[str, dict[str, Any]]:
        """A contest's problems by slug."""
        items = self.get(f"/api/v1/contests/{contest_id}/problems").expect(200).json["items"]
        return {item["slug"]: item for item in items}

    def register(self, contest_id: str) -> None:
        """Take part."""
        self.post(f"/api/v1/contests/{contest_id}/registration").expect(201, 200)

    def submit(
        self, problem_id: str, language: str, source: str, *, contest_id: str | None = None, key: str | None = None
    ) -> str:
        """Submit, and return the submission's identifier."""
        body = {"problem_id": problem_id, "language": language, "source": source}
        if contest_id is not None:
            body["contest_id"] = contest_id
        answer = self.post("/api/v1/submissions", body, headers={"Idempotency-Key": key}).expect(202)
        return str(answer.json["submission_id"])

    def submission(self, submission_id: str) -> dict[str, Any]:
        """Look at a submission."""
        return dict(self.get(f"/api/v1/submissions/{submission_id}").expect(200).json)

    def judged(self, submission_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait for a submission's verdict."""
        give_up_at = time.monotonic() + timeout_s
        while (found := self.submission(submission_id))["state"] != "judged":
            assert time.monotonic() < give_up_at, f"no verdict within {timeout_s:g} s: {found}"
            time.sleep(POLL_S)
        return found

    @contextmanager
    def events(self, path: str, last_event_id: str | None = None) -> Iterator[Iterator[ServerEvent]]:
        """Open a stream; what it yields are its events as they come, until the server ends it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.place.port, timeout=TIMEOUT_S)
        try:
            headers = self.headers("GET") | ({"Last-Event-ID": last_event_id} if last_event_id else {})
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            assert response.status == 200, f"{response.status}: {response.read()[:1000]!r}"
            yield _read_events(response)
        finally:
            connection.close()


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _read_events(response: http.client.HTTPResponse) -> Iterator[ServerEvent]:
    fields: dict[str, list[str]] = {}
    event_id = ""
    while raw := response.readline():
        line = raw.decode().rstrip("\r\n")
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
            continue
        event_id = fields.get("id", [event_id])[-1]
        if "data" in fields:
            yield ServerEvent(fields.get("event", ["message"])[-1], json.loads("\n".join(fields["data"])), event_id)
        fields = {}
