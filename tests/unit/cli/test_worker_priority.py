"""The worker gives way to a gateway on the same host."""

import subprocess
import sys
from pathlib import Path

import pytest

_AUTOGROUP = Path("/proc/self/autogroup")
_CODE = (
    "import os; from pathlib import Path; from harness.cli.worker import _give_way; _give_way();"
    "group = Path('/proc/self/autogroup'); print(os.nice(0), group.read_text().split()[-1] if group.exists() else '-')"
)


@pytest.mark.parametrize("leads", [True, False])
def test_it_gives_way_with_its_session_where_that_is_its_own(leads):
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_CODE!r}])"
    command = [sys.executable, "-c", _CODE if leads else code]
    nice, group = subprocess.check_output(command, text=True, start_new_session=True).split()
    assert int(nice) == 10
    if _AUTOGROUP.exists():
        assert group == ("10" if leads else "0")
