"""Budgets and promises of the whole tree that no single module's tests can hold."""

import ast
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("harness", "judges", "prompts", "reports")
SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
HEAVY = {
    "litellm", "torch", "pandas", "numpy", "scipy", "sqlalchemy", "sentence_transformers", "altair", "pyarrow",
    "starlette", "uvicorn",
}  # fmt: skip


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [file for name in listing.decode().split("\0") if name and (file := ROOT / name).is_file()]


# Sizes


def test_no_module_is_longer_than_500_lines():
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    lengths = {relative(file): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: lines for name, lines in lengths.items() if lines > 500} == {}


def test_at_most_two_percent_of_functions_are_longer_than_60_lines():
    functions = {
        f"{relative(file)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long = {name: lines for name, lines in functions.items() if lines > 60}
    assert len(functions) > 100
    assert len(long) <= 0.02 * len(functions), long


def test_package_modules_only_gather_names():
    """An ``__init__`` holds a docstring, imports and ``__all__``: whoever opens it finds the table of contents."""
    for file in SOURCES:
        if file.name != "__init__.py":
            continue
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 40, relative(file)
        allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
        logic = [type(node).__name__ for node in ast.parse(text).body if not isinstance(node, allowed)]
        assert logic == [], relative(file)


# What importing costs


def loaded_after(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after running ``code``."""
    program = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_harness_loads_nothing_but_itself():
    standard = loaded_after("")
    assert loaded_after("import harness") - standard == {"harness"}


def test_help_loads_no_heavy_library():
    code = "from harness.cli import main\ncode = main(['--help'])\nassert code == 0, code"
    assert loaded_after(code) & HEAVY == set()


@pytest.mark.parametrize("command", ["run", "report", "demo", "models", "compare", "label", "labels", "dashboard"])
def test_a_commands_help_loads_no_heavy_library(command):
    code = f"from harness.cli import main\ncode = main([{command!r}, '--help'])\nassert code == 0, code"
    assert loaded_after(code) & HEAVY == set()


def test_help_answers_in_half_a_second():
    """The best of several: what the program costs, whatever else the machine is doing."""

    def once() -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "harness", "--help"], cwd=ROOT, capture_output=True, check=True)
        return time.perf_counter() - begin

    once()  # compiles
    assert min(once() for _ in range(7)) < 0.5


# What is shipped


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    [file] = target.glob("*.whl")
    return zipfile.ZipFile(file)


def test_the_wheel_owns_exactly_four_names(wheel):
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_holds_every_file_the_packages_need(wheel):
    shipped = set(wheel.namelist())
    data = [file for file in tracked_files() if relative(file).split("/")[0] in PACKAGES]
    assert {relative(file) for file in data} - shipped == set()
    for needed in (r"prompts/.+/v\d+", r"reports/templates/.+", r"harness/web/templates/.+", r"harness/web/static/.+",
                   r"harness/demo/.+\.jsonl\.gz", r"harness/demo/.+\.yaml",
                   r"harness/store/.*versions/.+\.py", r"harness/cli/experiment\.yaml", r"harness/cli/live\.yaml",
                   r"harness/judging/canaries\.yaml"):  # fmt: skip
        assert any(re.fullmatch(f"{needed}.*", name) for name in shipped), needed
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped


# What must never be committed


def test_no_tracked_file_names_this_machine_or_a_registry():
    """Paths and hosts are put together here, so that this file does not find itself."""
    folders = "|".join(["wo" + "rk", "fa" + "rm", "ro" + "ot", "tm" + "p/w"])
    hosts = "|".join(re.escape(host) for host in ("pypi" + ".org", "python" + "hosted", "download.py" + "torch"))
    forbidden = re.compile(rf"(^|[^\w./-])/({folders})/[A-Za-z.]|{hosts}", re.MULTILINE)
    found = {}
    for file in tracked_files():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if match := forbidden.search(text):
            found[relative(file)] = match.group()
    assert found == {}


def test_every_constraint_is_one_exact_public_version():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 100
    odd = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)]
    assert odd == []


def test_every_requirement_is_pinned():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {re.match(r"[A-Za-z0-9._-]+", requirement).group() for requirement in wanted} - {"shadow-harness"}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert {canonical(name) for name in names} - {canonical(name) for name in pinned} == set()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_scripts_can_be_run():
    scripts = [ROOT / ".ci" / "run", *(ROOT / "tools").glob("*.sh")]
    assert [relative(script) for script in scripts if not os.access(script, os.X_OK)] == []
