"""Runs three real candidates on the sample export and takes the pictures of its report for README.md and docs/.

    python tools/take_screenshots.py [--runs-dir DIR] [--out DIR]

Asks local models only, so it needs no key and no network; about ten minutes on two cores. A run that was cut off goes
on where it stopped, and a complete one is only rendered and photographed again. Needs Chromium.
"""

import argparse
import sys
from pathlib import Path

import yaml
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from screenshot_report import BROWSER_ARGS, find_chromium

from harness.cli.run import run_parsed
from harness.config import parse_experiment
from harness.domain.decision import Verdict
from harness.local.server import ServerOptions, local_server

HERE = Path(__file__).resolve().parent
EXPERIMENT = HERE / "three_candidates.yaml"
IMAGES = HERE.parent / "docs" / "images"
RUNS = HERE.parent / ".bench" / "screenshots"
PORT = 8080
"""Where the experiment expects the server. It is part of what was asked, so with another one nothing can be resumed."""


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs-dir", type=Path, default=RUNS, help="where the run is kept, to go on with it")
    parser.add_argument("--out", type=Path, default=IMAGES, help="where the pictures go")
    parser.add_argument("--port", type=int, default=PORT, help="port of the local model server")
    options = parser.parse_args()
    report = run(options.runs_dir, options.port)
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(BROWSER_ARGS), headless=True)
        for path in pictures(browser, report, options.out):
            sys.stdout.write(f"{path} {path.stat().st_size:,} bytes\n")
        browser.close()
    return 0


def run(runs_dir: Path, port: int) -> Path:
    """The report of the run with all three candidates; ends the program when it could not be made."""
    text = EXPERIMENT.read_text(encoding="utf-8").replace(f"http://127.0.0.1:{PORT}", f"http://127.0.0.1:{port}")
    experiment = parse_experiment(yaml.safe_load(text), base=HERE, origin=EXPERIMENT.name)
    runs_dir.mkdir(parents=True, exist_ok=True)
    with local_server(ServerOptions(port=port)):
        code = run_parsed(
            experiment,
            run_id="three-candidates",
            store=f"sqlite:///{runs_dir / 'harness.db'}",
            runs_dir=runs_dir,
            dry_run=False,
            retry_errors=False,
            as_json=False,
            quiet=False,
            command="harness run tools/three_candidates.yaml",
        )
    if code not in {verdict.exit_code for verdict in Verdict}:
        sys.exit(code)
    return runs_dir / "three-candidates" / "report.html"
