"""Write constraints.txt from what is installed in this interpreter's environment.

Local version suffixes (``+cpu``) and file paths are left out, so that the same file fits every machine.
"""

import sys
from importlib.metadata import distributions
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "constraints.txt"
OWN = {"shadow-harness", "pip"}
HEADER = """\
# Every package of the development environment, exactly as tested; `make` installs through this file.
# Renew it with `make pin` after changing the dependencies in pyproject.toml.
"""


def main() -> None:
    """Print nothing, write the file."""
    pins: dict[str, str] = {}
    for item in distributions():
        name = item.metadata["Name"]
        if name.lower().replace("_", "-") not in OWN:
            pins[name] = item.version.split("+", 1)[0]
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items(), key=lambda pin: pin[0].lower())]
    TARGET.write_text(HEADER + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
