"""A stranger's judge, installed as a package, is found, configured and run like a built-in one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "plugin_package"
PROGRAM = """
import asyncio, json
from harness.config import JudgeSection
from harness.errors import ConfigurationError
from harness.judging import JudgeContext
from harness.judging.panel import run_judge
from harness.judging.protocol import fingerprint
from harness.registry import build_judge, judge_class, judge_names
from harness.testing import FakeEmbedder, ScriptedModelClient, pair

judge = build_judge(JudgeSection(use="shouting", name="calm", options={"min_letters": 3}))
models = ScriptedModelClient([])
ctx = JudgeContext(judge="calm", fingerprint=fingerprint(judge), models=models, embedder=FakeEmbedder())
rows = []
pairs = [pair("Hi", "HELLO there", id="e1"), pair("Hi", "OK", id="e2")]
result = asyncio.run(run_judge(judge, ctx, pairs, rows.extend))
try:
    build_judge(JudgeSection(use="shouting", options={"volume": 11}))
except ConfigurationError as error:
    refused = str(error)
print(json.dumps({
    "names": judge_names(), "module": judge_class("shouting").__module__, "scored": result.scored,
    "unscored": dict(result.unscored), "values": {row.exchange_id: row.value for row in rows}, "refused": refused,
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The package, built and installed by pip into a folder of its own, without any index."""
    source = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, source)
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", str(target), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def run(installed: Path, program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)


def test_a_strangers_judge_is_used_through_the_registry(installed):
    done = run(installed, PROGRAM)

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {"shouting", "pairwise", "rubric"} <= set(said["names"])
    assert said["module"] == "shouting_judge"
    assert (said["scored"], said["unscored"]) == (1, {"not_applicable": 1})
    assert said["values"] == {"e1": 0.5, "e2": None}
    assert said["refused"] == "judge 'shouting' has no option 'volume'; options: min_letters"


def test_it_is_not_there_when_it_is_not_installed():
    done = run(Path(), "from harness.registry import judge_class; judge_class('shouting')")

    assert "judge 'shouting' is not installed; available: " in done.stderr


def test_two_distributions_that_claim_a_name_are_refused(installed, tmp_path):
    info = tmp_path / "impostor-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: impostor\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness.judges]\nshouting = impostor:Judge\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom harness.registry import judge_class\n"

    done = run(installed, program + "judge_class('shouting')")

    assert "judge 'shouting' is registered twice, by " in done.stderr
    assert "impostor (impostor:Judge)" in done.stderr
    assert "shouting-judge (shouting_judge:ShoutingJudge)" in done.stderr
