"""Takes the four pictures of a report: wide, phone, dark and print.

    python tools/screenshot_report.py REPORT.html OUT_DIR [--full]

Writes wide.png, phone.png, dark.png (first screens; whole pages with --full) and print.pdf with its first page as
print.png. Needs the ``playwright`` package and a Chromium, found through CHROMIUM or its usual names.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, ViewportSize, sync_playwright

BROWSER_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_VIEWS: dict[str, tuple[ViewportSize, Literal["light", "dark"], Literal["screen", "print"]]] = {
    "wide": ({"width": 1280, "height": 900}, "light", "screen"),
    "phone": ({"width": 390, "height": 844}, "light", "screen"),
    "dark": ({"width": 1280, "height": 900}, "dark", "screen"),
    "print": ({"width": 794, "height": 1123}, "light", "print"),
}


def find_chromium() -> str:
    """Path of the browser; ends the program with the next step when there is none."""
    named = os.environ.get("CHROMIUM")
    found = named or next((path for name in _NAMES if (path := shutil.which(name))), None)
    if not found:
        sys.exit("no Chromium found: install Debian's `chromium`, or set CHROMIUM to its path")
    return found


def picture(browser: Browser, report: Path, out: Path, *, full: bool) -> list[Path]:
    """Take all pictures of one report."""
    written = []
    for name, (viewport, scheme, media) in _VIEWS.items():
        context = browser.new_context(viewport=viewport, color_scheme=scheme, offline=True, device_scale_factor=1.5)
        page = context.new_page()
        page.emulate_media(media=media, color_scheme=scheme)
        page.goto(report.resolve().as_uri())
        target = out / f"{name}.png"
        page.screenshot(path=target, full_page=full)
        written.append(target)
        if media == "print":
            page.pdf(path=out / "print.pdf", format="A4", prefer_css_page_size=True)
            written.append(out / "print.pdf")
        context.close()
    return written


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--full", action="store_true", help="the whole page instead of its first screen")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(BROWSER_ARGS), headless=True)
        for path in picture(browser, options.report, options.out, full=options.full):
            sys.stdout.write(f"{path}\n")
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
