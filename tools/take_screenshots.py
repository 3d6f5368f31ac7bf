"""Runs three real candidates on the sample export and takes the pictures of its report for README.md and docs/.

    python tools/take_screenshots.py [--runs-dir DIR] [--out DIR]

Asks local models only, so it needs no key and no network; about ten minutes on two cores. A run that was cut off goes
on where it stopped, and a complete one is only rendered and photographed again. Needs Chromium.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from screenshot_report import BROWSER_ARGS, find_chromium

from harness.cli.run import run_parsed
from harness.config import parse_experiment
from harness.domain.decision import Verdict
from harness.local.server import ServerOptions, local_server

HERE = Path(__file__).resolve().parent
EXPERIMENT = HERE / "three_candidates.yaml"
IMAGES = HERE.parent / "docs" / "images"
RUNS = HERE.parent / ".bench" / "screenshots"
COLOURS = 256
PORT = 8080
"""Where the experiment expects the server. It is part of what was asked, so with another one nothing can be resumed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """One picture of the report."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"] = "light"
    media: Literal["screen", "print"] = "screen"
    scale: float = 1.0
    at: str = ""
    """Selector of what stands at the top; the beginning of the page when empty."""


SHOTS = (
    Shot(name="report", width=1280, height=1000),
    Shot(name="report-verdict", width=1280, height=1150, at=".verdict"),
    Shot(name="report-dark", width=1280, height=1000, scheme="dark", at=".verdict"),
    Shot(name="report-phone", width=390, height=844, scale=2, at=".verdict"),
    Shot(name="report-print", width=703, height=1000, media="print", scale=1.5),
    Shot(name="report-criteria", width=1280, height=900, at="#c1-criteria"),
    Shot(name="report-latency", width=1280, height=900, at="#c1-latency"),
    Shot(name="report-slices", width=1280, height=800, at="#c1-slices"),
)


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


def pictures(browser: Browser, report: Path, out: Path) -> Iterator[Path]:
    """Take every picture, and write it as small as a picture of text can be without a visible loss."""
    for shot in SHOTS:
        context = browser.new_context(
            viewport={"width": shot.width, "height": shot.height},
            color_scheme=shot.scheme,
            device_scale_factor=shot.scale,
            offline=True,
        )
        page = context.new_page()
        page.emulate_media(media=shot.media, color_scheme=shot.scheme)
        page.goto(report.resolve().as_uri())
        if shot.at:
            page.evaluate("anchor => document.querySelector(anchor).scrollIntoView({behavior: 'instant'})", shot.at)
        target = out / f"{shot.name}.png"
        page.screenshot(path=target)
        context.close()
        shrink(target)
        yield target


def shrink(file: Path) -> None:
    """Write the picture with a palette of its own: the pages have few colours, and anti-aliasing needs few more."""
    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(
            colors=COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        small.save(file, optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
