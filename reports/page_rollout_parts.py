"""Small view parts of a rollout's page."""

import re
from datetime import UTC, datetime

from harness.domain.estimate import Unit
from harness.domain.formatting import format_value
from harness.domain.rollout_report import CheckEntry, Entry, RunLink
from reports.glossary import anchor_of
from reports.page_parts import words
from reports.rollout_words import ACTION_BADGES, CHECKS, NO_OBJECTION
from reports.text import one_line
from reports.views import Badge
from reports.views_rollout import CheckView, HashView, LinkView

NOT_RECORDED = "not recorded"
GIVEN_UP = "given up"
"""How the outcome begins of what was tried for a day without success."""
ACTOR_LIMIT = 80
_SAFE = re.compile(r"(https?://[^\s]+|(?!//)[^\s:?#\\][^:\\]*)", re.IGNORECASE)
_ANCHOR = re.compile(r"[A-Za-z0-9_-]+")
_NBSP = "\N{NO-BREAK SPACE}"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def lasted(seconds: float) -> str:
    """A length of time as one says it: ``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    whole = max(round(seconds), 0)
    if whole < _MINUTE:
        return f"{whole}{_NBSP}s"
    for unit, name, part, part_name in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if whole >= unit:
            more = whole % unit // part
            return f"{whole // unit:,}{_NBSP}{name}" + (f" {more}{_NBSP}{part_name}" if more else "")
    return f"{whole // _MINUTE}{_NBSP}min"


def planned(seconds: float) -> str:
    """A length that somebody wrote down, in the largest unit it fills: ``90 min`` is ``1.5 h``."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:,.4g}{_NBSP}{name}"
    return f"{seconds:,.4g}{_NBSP}s"


def times(count: int) -> str:
    """``once``, ``twice``, ``3 times``."""
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def moment(at: datetime) -> str:
    """A point in time, to the second, in UTC: events of one minute have an order."""
    utc = at.astimezone(UTC) if at.tzinfo else at
    return f"{utc:%Y-%m-%d %H:%M:%S} UTC"


def share(value: float) -> str:
    """``25%``."""
    return format_value(value, Unit.SHARE, trim=True)


def who(actor: str) -> str:
    """A name, on one line."""
    return one_line(actor, ACTOR_LIMIT)


def hashed(label: str, value: str | None) -> tuple[HashView, ...]:
    """A hash with its beginning; nothing when there is none."""
    if value is None:
        return ()
    full = one_line(value, 128)
    return (HashView(label=label, short=full[:12], full=full),)


def checks_of(checks: tuple[CheckEntry, ...], *, decides: bool = True) -> tuple[CheckView, ...]:
    """Questions with their answers; the first that objects is marked as the one that decided."""
    first = next((index for index, check in enumerate(checks) if check.speaks_for is not None), None)
    return tuple(
        CheckView(
            name=one_line(check.name, 80),
            title=title_of(check.name),
            badge=badge_of(check),
            sentence=one_line(check.sentence, 1_000),
            figures=figures_of(check),
            decided=decides and index == first,
        )
        for index, check in enumerate(checks)
    )


def title_of(name: str) -> str:
    """A check in words."""
    return CHECKS.get(name) or one_line(words(name), 80)


def badge_of(check: CheckEntry) -> Badge:
    """What the check called for."""
    if check.speaks_for is None:
        return NO_OBJECTION
    known = ACTION_BADGES.get(check.speaks_for)
    return known or Badge(word=one_line(words(check.speaks_for), 30), tone="open", icon="question")


def figures_of(check: CheckEntry) -> str:
    """The numbers of a check: ``requests 400 · errors 4 · p 0.12``."""
    listed = sorted(check.figures.items())[:12]
    return " · ".join(f"{_figure_name(name)} {figure(value)}" for name, value in listed)


def _figure_name(name: str) -> str:
    for end, unit in (("_s", "s"), ("_usd", "USD")):
        if name.endswith(end) and len(name) > len(end):
            return f"{one_line(words(name.removesuffix(end)), 40)} ({unit})"
    return "log e-value" if name == "log_e" else one_line(words(name), 40)


def figure(value: float) -> str:
    """A bare number: whole ones with all digits, others with four."""
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:,.4g}"


def link_to(entry: Entry | int, shown: frozenset[int], text: str = "") -> LinkView | None:
    """A link to an event; ``None`` when it is not on the page."""
    number = entry if isinstance(entry, int) else entry.number
    return LinkView(text=text or f"event {number}", href=f"#e{number}") if number in shown else None


def run_link(run: RunLink, text: str, anchor: str = "") -> LinkView | None:
    """A link to a run's report, or to a place in it; ``None`` for an address that is no path and no web page."""
    href = run.href.strip()
    if not _SAFE.fullmatch(href) or (anchor and not _ANCHOR.fullmatch(anchor)):
        return None
    return LinkView(text=text, href=f"{href}#{anchor}" if anchor else href)


def term(word: str) -> LinkView:
    """A link to a word of the glossary."""
    return LinkView(text=word, href=f"#{anchor_of(word)}")
