"""Word-level difference of two answers, with a bound on what it may cost."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

# Words with the white space after them, else single signs: few tokens, and every character belongs to one.
_TOKEN = re.compile(r"\w{1,80}\s*|\s+|[^\w\s]\s*")

MAX_TOKENS = 2_500
MIN_SHARED = 0.25
"""Share of common tokens below which nearly everything would be marked."""
MAX_MATCHES = 300_000
"""Upper bound for the pairs of equal tokens, which is what SequenceMatcher's time grows with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A stretch of one answer."""

    text: str
    """The characters, in order; all runs of a side together are its text."""
    changed: bool
    """Whether the other side does not have it here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Both answers as runs of shared and own text."""

    production: tuple[Run, ...]
    """Production's side."""
    candidate: tuple[Run, ...]
    """The candidate's side."""
    unmarked: str = ""
    """Why nothing is marked although the answers differ; empty otherwise."""


def words(production: str, candidate: str) -> Difference:
    """What one answer says and the other does not.

    Answers that would cost too much to compare, or share too little, come back whole and unmarked, with the reason.
    """
    left, right = _TOKEN.findall(production), _TOKEN.findall(candidate)
    if left == right:
        return Difference(production=_runs([(production, False)]), candidate=_runs([(candidate, False)]))
    counts = Counter(right)
    if max(len(left), len(right)) > MAX_TOKENS or sum(counts[token] for token in left) > MAX_MATCHES:
        return _whole(production, candidate, "too long or too repetitive to mark their differences word by word")
    keys = [token.strip() or " " for token in left], [token.strip() or " " for token in right]
    matcher = SequenceMatcher(None, *keys, autojunk=False)
    if matcher.ratio() < MIN_SHARED:
        return _whole(production, candidate, "too different for marks on single words to help")
    ours: list[tuple[str, bool]] = []
    theirs: list[tuple[str, bool]] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        ours.append(("".join(left[i1:i2]), tag != "equal"))
        theirs.append(("".join(right[j1:j2]), tag != "equal"))
    return Difference(production=_runs(ours), candidate=_runs(theirs))


def _whole(production: str, candidate: str, unmarked: str) -> Difference:
    whole = _runs([(production, False)]), _runs([(candidate, False)])
    return Difference(production=whole[0], candidate=whole[1], unmarked=unmarked)


def _runs(parts: Sequence[tuple[str, bool]]) -> tuple[Run, ...]:
    """Runs without empty ones; the white space after a change is not part of what is marked."""
    runs = []
    for text, changed in parts:
        core = text.rstrip() if changed else text
        runs += [Run(text=core, changed=changed)] if core else []
        runs += [Run(text=text[len(core) :], changed=False)] if core != text else []
    return tuple(runs)
