"""The served description is true: Schemathesis sends what it allows and what it forbids, to a real server, and finds no 5xx and nothing undocumented."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import trio

from actors.gateway.app import make_app
from actors.gateway.identity import token_hash
from actors.gateway.limits import Rule
from actors.gateway.services import Limits
from contracts.messages import CreateApiToken, Submit, Verification
from edge.http import Address, serve
from tests.actors.gateway.conftest import House, body_of

TOKEN = "cw_schemathesis"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
FREE = Rule("free", 1_000_000, 1_000_000.0)


async def test_every_answer_of_the_document_is_a_schema_of_its_own(house: House) -> None:
    document = await body_of(await house.anonymous.get("/api/v1/openapi.json"))
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], f"{method} {path} has no summary"
            for status, answer in operation["responses"].items():
                media = set(answer.get("content", {}))
                assert status[0] != "4" or media == {"application/problem+json"}


async def verify(request: object, *, timeout: float) -> Verification:
    return Verification(slug="made", title="Made", digest="d", package=b"p", summary=SUMMARY)


SUMMARY = b'{"title":"Made","statement_html":"","statement_source":"","samples":[],"time_limit_ms":1,"memory_limit_kb":1,"output_limit_kb":1,"tests_total":1}'


async def fill(house: House) -> None:
    await house.problem("add")
    await house.contest("open", "add")
    request = CreateApiToken(token_id="t", user_id="root", name="n", token_hash=token_hash(TOKEN))
    await house.rpc.call("core", request, timeout=10)
    common: Any = {"user_id": "root", "problem_id": "add", "language": "c", "source": "x", "correlation_id": "c"}
    await house.rpc.call("core", Submit(submission_id="s1", contest_id="open", **common), timeout=10)


async def test_schemathesis_finds_nothing(house: House, tmp_path: Path) -> None:
    await fill(house)
    free: Any = {field.name: FREE for field in dataclasses.fields(Limits) if field.type == "Rule"}
    limits = Limits(**free)
    app = make_app(dataclasses.replace(house.services, limits=limits))
    address, ready, draining = Address("127.0.0.1", 0), trio.Event(), trio.Event()
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", "--checks", CHECKS, "--max-examples", "5",
        "--phases", "coverage,fuzzing", "--seed", "1", "--generation-deterministic", "--request-timeout", "10", "--suppress-health-check", "all",
        "--header", f"Authorization: Bearer {TOKEN}", "--workers", "2",
    ]  # fmt: skip
    (tmp_path / "schemathesis.toml").write_text("max-stream-events = 1\n")  # a stream has no end to wait for
    async with trio.open_nursery() as nursery, house.rpc.serve("judge", verify):
        nursery.start_soon(partial(serve, app, address, ready=ready.set, draining=draining))
        await ready.wait()
        command.append(f"{address.url}/api/v1/openapi.json")
        with trio.fail_after(120):
            done = await trio.run_process(
                command, cwd=tmp_path, check=False, capture_stdout=True, stderr=subprocess.STDOUT
            )
        draining.set()
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-8000:]
