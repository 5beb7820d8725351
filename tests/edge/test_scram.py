"""A password's verifier is what RFC 5802 says it is, by the example of RFC 7677, and of this password only."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode

import pytest

from edge.postgres import scram

SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
# RFC 7677, section 3: what both sides sign, what the client proves with, and what the server signs.
AUTH_MESSAGE = (
    b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)
PROOF = b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SERVER_SIGNATURE = b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_the_rfcs_client_is_known_by_it_and_knows_the_server() -> None:
    head, middle, keys = scram.verifier("pencil", SALT).split("$")
    stored_key, server_key = (b64decode(each) for each in keys.split(":"))
    assert (head, middle) == ("SCRAM-SHA-256", "4096:W22ZaJ0SNY7soEsUEjb6gQ==")
    client_signature = hmac.digest(stored_key, AUTH_MESSAGE, "sha256")
    client_key = bytes(a ^ b for a, b in zip(PROOF, client_signature, strict=True))
    assert hashlib.sha256(client_key).digest() == stored_key
    assert hmac.digest(server_key, AUTH_MESSAGE, "sha256") == SERVER_SIGNATURE


def test_each_has_a_salt_of_its_own_and_is_of_its_password_only() -> None:
    one, other = scram.verifier("pencil"), scram.verifier("pencil")
    assert one != other
    assert scram.is_of(one, "pencil")
    assert scram.is_of(other, "pencil")
    assert not scram.is_of(one, "pencils")


@pytest.mark.parametrize(
    "kept",
    [
        None,
        "",
        "md53175bce1d3201d16594cebf9d7eb3f9d",
        "pencil",
        scram.verifier("pencil", iterations=1),  # weaker than ours
        scram.verifier("pencil", SALT).replace("4096:", "999999999:"),  # would take minutes to compare
        scram.verifier("pencil", SALT).replace("W22Z", "=22Z"),
        scram.verifier("pencil", SALT) + "x",
    ],
)
def test_what_is_no_verifier_of_ours_is_not_taken_for_one(kept: str | None) -> None:
    assert not scram.is_of(kept, "pencil")
