"""What the gateway's processes load: users of production wait for it, and pay for it in memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateways import ask

HEAVY = {
    "litellm", "pandas", "numpy", "torch", "scipy", "sqlalchemy", "jinja2", "httpx", "aiohttp", "openai", "anthropic",
    "pyarrow", "sentence_transformers", "transformers", "apprise", "rich",
}  # fmt: skip


@pytest.mark.parametrize("module", ["harness.gateway.process", "harness.gateway.supervisor"])
def test_importing_a_process_of_the_gateway_loads_nothing_heavy(module):
    program = f"import sys\nimport {module}\nprint(*{{name.split('.')[0] for name in sys.modules}}, sep='\\n')\n"
    program += "print(*(name for name in sys.modules if name.startswith('harness.')), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded & HEAVY == set()
    ours = {name.split(".")[1] for name in loaded if name.startswith("harness.")}
    # `harness.capture.entry` comes with the package itself and is a few lines.
    assert ours <= {"gateway", "spool", "ops", "config", "domain", "errors", "capture"}


def test_a_serving_process_at_work_has_loaded_nothing_heavy(served, upstream):
    """By what it has mapped, after it has done its work."""
    for _ in range(20):
        ask(served.port)
    [child] = served.children
    mapped = Path(f"/proc/{child}/maps").read_text()
    assert [name for name in HEAVY if f"/{name}/" in mapped] == []
    status = Path(f"/proc/{child}/status").read_text()
    resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    assert resident < 120_000, "kilobytes"
