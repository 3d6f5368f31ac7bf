"""The kill switch: a file beside the spool that every source of traffic looks at, whatever its configuration says."""

import os
from pathlib import Path

import orjson

FILE = "control.json"
LOOK_S = 0.25
"""How often to look, so that a change is honoured within a second."""


def is_mirroring(folder: Path) -> bool:
    """Whether the switch lets traffic through.

    A file that is not there lets it through; one that cannot be read does not: somebody meant to stop something.
    """
    try:
        raw = orjson.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        return True
    except (OSError, orjson.JSONDecodeError):
        return False
    return isinstance(raw, dict) and raw.get("mirror", True) is True


def switch(folder: Path, *, mirror: bool) -> None:
    """Let traffic through or stop it; the file is replaced as a whole, so that nobody reads half of it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / FILE
    draft = folder / f"{FILE}.{os.getpid()}"
    try:
        draft.write_bytes(orjson.dumps({"mirror": mirror}))
    except OSError:
        # A full disk still has room for a name, and a file that says nothing stops everything.
        if mirror or not draft.exists():
            draft.unlink(missing_ok=True)
            raise
    draft.replace(target)
