"""Two answers as what they are, held against each other: prose by words, JSON and tool calls by structure."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from harness.domain.json import Json
from harness.domain.observation import Completion, ToolCall
from harness.judging.answers import NotJson, call_key, canonical, parse
from reports import diff, marked, structured
from reports.diff import Run
from reports.marked import Piece
from reports.messages import MAX_CALLS
from reports.text import cut, one_line, plural
from reports.views import Badge
from reports.views_examples import CallView

ANSWER_LIMIT = 6_000
CALL_LIMIT = 2_000
_PATHS = 6
_PATH_CHARS = 60
_SIDES = ("production", "the candidate")

SAME = Badge(word="same", tone="none", icon="check")
DIFFERENT = Badge(word="arguments differ", tone="open", icon="flag")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One side's text, ready to be written."""

    kind: str = "prose"
    runs: tuple[Run, ...] = ()
    pieces: tuple[Piece, ...] = ()
    source: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BothShown:
    """Both sides' texts, and how they compare."""

    production: Shown
    candidate: Shown
    notes: tuple[str, ...] = ()


def shown(production: str | None, candidate: str | None) -> BothShown:
    """Both texts as what they are; a missing or empty one is shown as nothing."""
    documents = structured.read(production), structured.read(candidate)
    left, right = documents
    if left is not None and right is not None:
        return _json(production or "", candidate or "", left, right)
    if left is None and right is None:
        return _texts(production or "", candidate or "")
    sides = [
        _written(text or "", document) if document is not None else _alone(text or "")
        for text, document in zip((production, candidate), documents, strict=True)
    ]
    notes: tuple[str, ...] = ()
    if production and candidate:
        notes = (f"Only {_SIDES[0] if left is not None else _SIDES[1]}'s answer is JSON.",)
    return BothShown(production=sides[0], candidate=sides[1], notes=notes)


def is_same(production: Completion | None, candidate: Completion | None) -> bool:
    """Whether two answers say the same: white space, order of keys and a code fence around JSON aside."""
    if production is None or candidate is None:
        return False
    called = [Counter(map(_call_key, answer.tool_calls)) for answer in (production, candidate)]
    texts = [" ".join((answer.text or answer.refusal or "").split()) for answer in (production, candidate)]
    if called[0] != called[1]:
        return False
    if texts[0] == texts[1]:
        return True
    left, right = structured.read(production.text), structured.read(candidate.text)
    return left is not None and right is not None and bool(canonical(left.value) == canonical(right.value))


def calls(
    production: Completion | None, candidate: Completion | None
) -> tuple[tuple[CallView, ...], tuple[CallView, ...]]:
    """The tools that both sides call, each with its partner on the other side: an equal call, else one of its name."""
    left = production.tool_calls if production else ()
    right = candidate.tool_calls if candidate else ()
    if production is None or candidate is None:
        return _calls(left, {}, "production", None), _calls(right, {}, "candidate", None)
    partners = _partners(left, right)
    back = {j: i for i, j in partners.items()}
    return (
        _calls(left, {i: right[j] for i, j in partners.items()}, "production", "only production"),
        _calls(right, {j: left[i] for j, i in back.items()}, "candidate", "only the candidate"),
    )


def _json(production: str, candidate: str, left: structured.Document, right: structured.Document) -> BothShown:
    comparison = structured.compare(left.value, right.value)
    notes = [
        f"{title}: {_paths(paths)}."
        for title, paths in (
            ("Both say something else at", comparison.changed),
            ("Only production has", comparison.only_production),
            ("Only the candidate has", comparison.only_candidate),
        )
        if paths
    ]
    if left.fenced != right.fenced:
        notes.append(f"Only {_SIDES[0] if left.fenced else _SIDES[1]} put its JSON into a code fence.")
    return BothShown(
        production=_cut_json(comparison.production, production),
        candidate=_cut_json(comparison.candidate, candidate),
        notes=tuple(notes),
    )


def _written(text: str, document: structured.Document) -> Shown:
    return _cut_json((Run(text=structured.written(document.value), changed=False),), text)


def _cut_json(runs: Sequence[Run], source: str) -> Shown:
    kept, note = bounded(runs, ANSWER_LIMIT)
    return Shown(kind="json", runs=kept, source=cut(source, ANSWER_LIMIT).text, note=note)


def _alone(text: str) -> Shown:
    return _texts(text, "").production


def _texts(production: str, candidate: str) -> BothShown:
    left, right = cut(production, ANSWER_LIMIT), cut(candidate, ANSWER_LIMIT)
    if marked.is_markdown(left.text) or marked.is_markdown(right.text):
        both = bool(left.text.strip() and right.text.strip())
        ours, theirs, unmarked = (
            marked.compare(left.text, right.text) if both else (marked.pieces(left.text), marked.pieces(right.text), "")
        )
        return BothShown(
            production=_markdown(ours, left.text, left.note),
            candidate=_markdown(theirs, right.text, right.note),
            notes=(f"These answers are {unmarked}.",) if unmarked else (),
        )
    difference = diff.words(left.text, right.text) if left.text and right.text else None
    runs = (difference.production, difference.candidate) if difference else (_whole(left.text), _whole(right.text))
    return BothShown(
        production=Shown(runs=runs[0], note=left.note),
        candidate=Shown(runs=runs[1], note=right.note),
        notes=(f"These answers are {difference.unmarked}.",) if difference and difference.unmarked else (),
    )


def _markdown(pieces: tuple[Piece, ...], source: str, note: str) -> Shown:
    return Shown(kind="markdown", pieces=pieces, source=source, note=note) if source else Shown()


def _whole(text: str) -> tuple[Run, ...]:
    return (Run(text=text, changed=False),) if text else ()


def bounded(runs: Sequence[Run], limit: int) -> tuple[tuple[Run, ...], str]:
    """The first ``limit`` characters of the runs, and what was left out; empty when nothing was."""
    kept: list[Run] = []
    left, total = limit, sum(len(run.text) for run in runs)
    for run in runs:
        if left <= 0:
            break
        kept.append(Run(text=run.text[:left], changed=run.changed))
        left -= len(run.text)
    return tuple(kept), f"Cut for display: {limit:,} of {total:,} characters shown." if total > limit else ""


def _partners(left: Sequence[ToolCall], right: Sequence[ToolCall]) -> dict[int, int]:
    """Call of one side to call of the other, equal ones first, then those of one name in their order."""
    found: dict[int, int] = {}
    for key in (_call_key, lambda call: call.name):
        free: dict[Hashable, list[int]] = {}
        for j in reversed([j for j in range(len(right)) if j not in set(found.values())]):
            free.setdefault(key(right[j]), []).append(j)
        for i in range(len(left)):
            places = free.get(key(left[i]))
            if i not in found and places:
                found[i] = places.pop()
    return found


def _calls(
    own: Sequence[ToolCall], partners: dict[int, ToolCall], side: str, alone: str | None
) -> tuple[CallView, ...]:
    views = [_call(call, partners.get(number), side, alone) for number, call in enumerate(own[:MAX_CALLS])]
    if len(own) > MAX_CALLS:
        more = plural(len(own) - MAX_CALLS, "more call")
        views.append(CallView(name=more, badge=None, runs=(), note=""))
    return tuple(views)


def _call(call: ToolCall, other: ToolCall | None, side: str, alone: str | None) -> CallView:
    name = one_line(call.name, 120)
    value = _arguments(call.arguments)
    if value is None:
        return CallView(name=name, badge=_badge(call, other, alone), runs=(), note="")
    if not isinstance(value, str) and not structured.is_showable(value):
        runs: tuple[Run, ...] = (Run(text="[cannot be shown: nested too deeply or too large]", changed=False),)
        return CallView(name=name, badge=_badge(call, other, alone), runs=runs, note="")
    theirs = None if other is None else _arguments(other.arguments)
    notes = []
    if other is None or not _comparable(value, theirs):
        text = value if isinstance(value, str) else structured.written(value)
        runs = (Run(text=text, changed=alone is not None and other is None),)
    elif isinstance(value, str) and isinstance(theirs, str):
        difference = diff.words(value[:CALL_LIMIT], theirs[:CALL_LIMIT])
        runs = difference.production
    else:
        pair = (value, theirs) if side == "production" else (theirs, value)
        comparison = structured.compare(*pair)
        runs = comparison.production if side == "production" else comparison.candidate
        only = comparison.only_production if side == "production" else comparison.only_candidate
        notes += [
            f"{title}: {_paths(paths)}."
            for title, paths in (("Differs at", comparison.changed), ("Only here", only))
            if paths
        ]
    kept, note = bounded(runs, CALL_LIMIT)
    return CallView(name=name, badge=_badge(call, other, alone), runs=kept, note=" ".join([*notes, note]).strip())


def _comparable(value: Json, theirs: Json) -> bool:
    if isinstance(value, str) or isinstance(theirs, str) or theirs is None:
        return isinstance(value, str) and isinstance(theirs, str)
    return structured.is_showable(theirs)


def _badge(call: ToolCall, other: ToolCall | None, alone: str | None) -> Badge | None:
    if other is None:
        return None if alone is None else Badge(word=alone, tone="mark", icon="flag")
    return SAME if _call_key(call) == _call_key(other) else DIFFERENT


def _call_key(call: ToolCall) -> Hashable:
    try:
        key: Hashable = call_key(call)
        hash(key)
        return key
    except (RecursionError, TypeError):
        return (call.name, id(call))


def _arguments(value: Json) -> Json:
    """Decoded when it is JSON in a text, as it was kept where it was sent so."""
    if not isinstance(value, str):
        return value
    try:
        found: Json = parse(value)
    except NotJson:
        return value
    return found


def _paths(paths: Sequence[str]) -> str:
    shown_paths = [one_line(path, _PATH_CHARS) for path in paths[:_PATHS]]
    more = len(paths) - len(shown_paths)
    return ", ".join(shown_paths) + (f" and {plural(more, 'more place')}" if more > 0 else "")
