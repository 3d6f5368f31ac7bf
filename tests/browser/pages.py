"""What the browser tests share: which browser, what a page did, how well its text can be read."""

import os
import shutil
from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, Page

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def chromium() -> str:
    named = os.environ.get("CHROMIUM")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), None)
    assert found, "no Chromium found: install Debian's `chromium`, or set CHROMIUM to its path"
    return found


@dataclass
class Noticed:
    """What a page did that none of ours may do."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


# Some refusals reach no console (those in a frame, or reported only): the event knows all of them.
_REFUSALS = """
document.addEventListener('securitypolicyviolation', event =>
  console.error(`refused by the policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`))
"""


def watched(context: BrowserContext) -> tuple[Page, Noticed]:
    context.add_init_script(_REFUSALS)
    page, noticed = context.new_page(), Noticed()
    page.on("console", lambda message: noticed.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: noticed.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (noticed.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: noticed.requests.append(request.url))
    return page, noticed


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# Text and the first opaque ground behind it.
COLOURS = """
selector => [...document.querySelectorAll(selector)].map(node => {
  let ground = node;
  while (ground && getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
  return [getComputedStyle(node).color, ground ? getComputedStyle(ground).backgroundColor : 'rgb(255, 255, 255)'];
})
"""


def contrast(text: str, ground: str) -> float:
    """Contrast ratio of WCAG 2, 1 to 21."""
    high, low = sorted((luminance(text), luminance(ground)), reverse=True)
    return (high + 0.05) / (low + 0.05)
