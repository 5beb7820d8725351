"""A password as a SCRAM-SHA-256 verifier (RFC 5802, RFC 7677), in the form that PostgreSQL keeps: neither it nor its log ever sees the password.

Only for passwords that SASLprep leaves as they are, which printable ASCII is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode

ITERATIONS = 4096  # PostgreSQL's own default, and RFC 7677's least. The passwords are random: more would only make connecting slower
SALT_BYTES = 16
_VERIFIER = re.compile(r"SCRAM-SHA-256\$(?P<iterations>[0-9]{1,9}):(?P<salt>[A-Za-z0-9+/=]+)\$[^$]+\Z")


def verifier(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """Return what ``ALTER ROLE … PASSWORD`` takes in place of the password; a fresh salt unless one is given."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored)}:{_text(_hmac(salted, b'Server Key'))}"


def is_of(kept: str | None, password: str) -> bool:
    """Whether ``kept``, what a server has, is a verifier of this password, in this form and with no fewer iterations than ours."""
    match = _VERIFIER.match(kept or "")
    if match is None or not ITERATIONS <= int(match["iterations"]) <= 100 * ITERATIONS:
        return False
    try:
        salt = b64decode(match["salt"], validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(match[0], verifier(password, salt, int(match["iterations"])))


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
