"""What others say, made fit for a log, a history and a message: one line, short, and without secrets."""

import os
import re
from functools import cache

from harness.config import Redaction
from harness.ingest.redaction import Redactor

_LINE = 200
_LEAST = 6
"""Characters of a value that is taken for a secret; shorter ones would take words out of every text."""
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|URL|URI|DSN|STORE|HOOK|COOKIE", re.IGNORECASE)
_HARMLESS_NAME = re.compile(r"HARNESS_ROLLOUT_")


def last_line(text: str, *, secrets: tuple[str, ...] = ()) -> str:
    """The last line that says anything, at most 200 characters of it.

    Secrets are the values of environment variables whose names say so, keys that can be recognised by their form, and
    the ones that are given.
    """
    lines = [_printable(line).strip() for line in without_secrets(text, secrets=secrets).splitlines()]
    line = next((line for line in reversed(lines) if line), "")
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def sayable(text: str) -> str:
    """The text as every program and service can take it: UTF-8, and no zero bytes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", " ")


def without_secrets(text: str, *, secrets: tuple[str, ...] = ()) -> str:
    """The text with every secret replaced."""
    # The longest first: one may be a part of another.
    for secret in sorted({*_of_the_environment(), *filter(None, secrets)}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _redactor().text(text)


def _of_the_environment() -> set[str]:
    """Values that may be secret, and the words of those that are lists."""
    found = set()
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and not _HARMLESS_NAME.match(name):
            found |= {value.strip(), *value.split()}
    return {value for value in found if len(value) >= _LEAST}


@cache
def _redactor() -> Redactor:
    return Redactor(Redaction())
