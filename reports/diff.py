"""Word-level difference of two answers, with a bound on what it may cost."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

# Words with the white space after them, else single signs: few tokens, and every character belongs to one.
_TOKEN = re.compile(r"\w{1,80}\s*|\s+|[^\w\s]\s*")

MAX_TOKENS = 2_500
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
    compared: bool = True
    """False when the answers are too long or too repetitive to compare word by word in bounded time."""


def words(production: str, candidate: str) -> Difference:
    """What one answer says and the other does not.

    Answers that would cost too much to compare come back whole and unmarked, with ``compared`` false.
    """
    left, right = _TOKEN.findall(production), _TOKEN.findall(candidate)
    if left == right:
        return Difference(production=_runs([(production, False)]), candidate=_runs([(candidate, False)]))
    counts = Counter(right)
    if max(len(left), len(right)) > MAX_TOKENS or sum(counts[token] for token in left) > MAX_MATCHES:
        whole = _runs([(production, False)]), _runs([(candidate, False)])
        return Difference(production=whole[0], candidate=whole[1], compared=False)
    keys = [token.strip() or " " for token in left], [token.strip() or " " for token in right]
    matcher = SequenceMatcher(None, *keys, autojunk=False)
    ours: list[tuple[str, bool]] = []
    theirs: list[tuple[str, bool]] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        ours.append(("".join(left[i1:i2]), tag != "equal"))
        theirs.append(("".join(right[j1:j2]), tag != "equal"))
    return Difference(production=_runs(ours), candidate=_runs(theirs))


def _runs(parts: Sequence[tuple[str, bool]]) -> tuple[Run, ...]:
    """Runs without empty ones; the white space after a change is not part of what is marked."""
    runs = []
    for text, changed in parts:
        core = text.rstrip() if changed else text
        runs += [Run(text=core, changed=changed)] if core else []
        runs += [Run(text=text[len(core) :], changed=False)] if core != text else []
    return tuple(runs)
