"""Reading pairs of answers that people have labelled, from any file of records."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.domain.json import Json, Message
from harness.domain.judgment import Label
from harness.errors import ConfigurationError, InputError
from harness.ingest import files
from harness.ingest.places import NOTHING, Nothing, value_at

PROMPTS = ("prompt", "input", "instruction", "question")
_TOGETHER = ("instruction", "input")
"""Where both are there the input belongs to the instruction and is often empty."""
ANSWERS = tuple(
    (f"{word}{joint}{first}", f"{word}{joint}{second}")
    for word in ("output", "response", "answer", "completion")
    for joint in ("_", "")
    for first, second in (("1", "2"), ("a", "b"))
)
LABELS = ("label", "preference", "winner", "gold", "human_label")
_LABELLER = re.compile(r"(?:annotator|annotation|labeller|labeler|rater|label)_?\d+")
_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Words:
    """What stands for a verdict, whatever the case."""

    first: Sequence[str] = ("1",)
    second: Sequence[str] = ("2",)
    tie: Sequence[str] = ("0", "tie")

    def __post_init__(self) -> None:
        found = Counter(word for words in self._menu.values() for word in words)
        double = [word for word, n in found.items() if n > 1]
        if double:
            raise ConfigurationError(
                f"the word {double[0]!r} stands for two verdicts; give --first, --second and --tie"
            )

    @property
    def _menu(self) -> Mapping[Label, frozenset[str]]:
        """The candidate is answer 2."""
        sides = ((Label.LOSS, self.first), (Label.WIN, self.second), (Label.TIE, self.tie))
        return {label: frozenset(word.strip().casefold() for word in words) for label, words in sides}

    def read(self, word: str) -> Label | None:
        """The verdict from answer 2's side; ``None`` when the word means nothing."""
        return next((label for label, words in self._menu.items() if word.casefold() in words), None)

    def __str__(self) -> str:
        return ", ".join([*self.first, *self.second, *self.tie])


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where what stands in a record, as dotted names; what is not named is looked for."""

    prompt: Sequence[str] = ()
    """Several are put together, in this order."""
    answer_1: str | None = None
    answer_2: str | None = None
    labels: Sequence[str] = ()
    """One per labeller; the majority counts."""
    further: Sequence[str] = ()
    """Columns with recorded verdicts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledPair:
    """Two answers to one request, and which one people prefer."""

    row: int
    """Place in the file, from 1."""
    messages: tuple[Message, ...]
    answer_1: str
    answer_2: str
    label: Label
    """From answer 2's side."""
    labellers: int
    further: Mapping[str, str | None] = field(default_factory=dict)
    """Words in the columns of recorded verdicts; ``None`` where there is none."""

    @property
    def id(self) -> str:
        """Name of the exchange it becomes."""
        return f"row-{self.row:06}"


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Every usable pair of a file, and what became of the other records."""

    name: str
    sha256: str
    """Of every record read."""
    columns: Columns
    """With what was found."""
    pairs: tuple[LabelledPair, ...]
    read: int
    left_out: Mapping[str, int]
    """Records that are no labelled pair, by reason."""

    def sample(self, size: int | None, seed: int) -> tuple[LabelledPair, ...]:
        """At most ``size`` pairs in a random order, in which a larger sample begins with a smaller one."""

        def place(pair: LabelledPair) -> bytes:
            return hashlib.sha256(f"{seed} {pair.row}".encode()).digest()

        return tuple(sorted(self.pairs, key=place)[:size])


def read_labelled(
    source: str, columns: Columns, words: Words, *, joined: Sequence[str] = (), key: str | None = None
) -> LabelledSet:
    """The labelled pairs of a file: JSON lines, a JSON list, CSV or Parquet, plain or packed.

    Records of ``joined`` files with the same value at ``key`` add their columns.

    Raises:
        InputError: a file cannot be read, or no record is a labelled pair; names columns and words that are there.
        ConfigurationError: a column is neither named nor found.
    """
    digest = hashlib.sha256()
    records = list(_records(source, digest))
    if joined:
        if key is None:
            raise ConfigurationError("files are joined by a column they share; name it with --key")
        records = _joined(records, [dict(_keyed(_records(file, digest), key)) for file in joined], key)
    if not records:
        raise InputError(f"{source}: holds no record")
    found = _resolved(records, columns)
    pairs: list[LabelledPair] = []
    left_out: Counter[str] = Counter()
    strange: Counter[str] = Counter()
    for row, record in enumerate(records, 1):
        pair = _pair(row, record, found, words, strange)
        if isinstance(pair, str):
            left_out[pair] += 1
        else:
            pairs.append(pair)
    if not pairs:
        raise InputError(f"{source}: {_why_none(left_out, strange, words)}")
    return LabelledSet(
        name=files.expand([source])[0].name,
        sha256=digest.hexdigest(),
        columns=found,
        pairs=tuple(pairs),
        read=len(records),
        left_out=dict(left_out.most_common()),
    )


def word_at(record: Json, place: str) -> str | None:
    """A verdict as it is written, as a word; ``None`` for null, nothing and empty text."""
    value = value_at(record, place)
    if value is None or isinstance(value, Nothing | Mapping | list):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _text(value).strip() or None


def _records(source: str, digest: Any) -> Iterator[Mapping[str, Json]]:
    for export in files.expand([source]):
        for number, item in enumerate(files.read(export, files.Meter()), 1):
            digest.update(item.raw + b"\n")
            if item.problem is not None:
                line = f"line {item.line}" if item.line is not None else f"record {number}"
                raise InputError(f"{item.file}, {line}: {item.detail}")
            if item.value is not None:
                yield item.value


def _keyed(records: Iterator[Mapping[str, Json]], key: str) -> Iterator[tuple[str, Mapping[str, Json]]]:
    for record in records:
        word = word_at(record, key)
        if word is None:
            raise InputError(f"a record to join has nothing at {key!r}; columns: {_listed(record)}")
        yield word, record


def _joined(
    records: Sequence[Mapping[str, Json]], others: Sequence[Mapping[str, Mapping[str, Json]]], key: str
) -> list[Mapping[str, Json]]:
    merged: list[Mapping[str, Json]] = []
    for record in records:
        word = word_at(record, key)
        if word is None:
            raise InputError(f"a record has nothing at {key!r}; columns: {_listed(record)}")
        further: dict[str, Json] = {}
        for other in others:
            further = {**other.get(word, {}), **further}
        merged.append({**further, **record})
    return merged


def _resolved(records: Sequence[Mapping[str, Json]], columns: Columns) -> Columns:
    """The columns with those that were not named found, and those that were named checked."""
    names = sorted({name for record in records for name in record})
    given = [
        *columns.prompt, *columns.labels, *columns.further,
        *(item for item in (columns.answer_1, columns.answer_2) if item),
    ]  # fmt: skip
    for place in given:
        if all(isinstance(value_at(record, place), Nothing) for record in records):
            raise InputError(f"no record has anything at {place!r}; columns: {_shown(names)}")
    answers = next((pair for pair in ANSWERS if set(pair) <= set(names)), (None, None))
    prompt = _TOGETHER if set(_TOGETHER) <= set(names) and "prompt" not in names else PROMPTS
    prompts = [name for name in prompt if name in names]
    labellers = [name for name in names if _LABELLER.fullmatch(name)]
    labels = [name for name in LABELS if name in names][:1] or labellers
    found = Columns(
        prompt=columns.prompt or (prompts if prompt is _TOGETHER else prompts[:1]),
        answer_1=columns.answer_1 or answers[0],
        answer_2=columns.answer_2 or answers[1],
        labels=columns.labels or labels,
        further=columns.further,
    )
    for what, there, option in (
        ("the request", found.prompt, "--prompt"),
        ("answer 1", found.answer_1, "--answer-1"),
        ("answer 2", found.answer_2, "--answer-2"),
        ("people's label", found.labels, "--label"),
    ):
        if not there:
            raise ConfigurationError(f"no column holds {what}; name it with {option}; columns: {_shown(names)}")
    return found


def _pair(
    row: int, record: Mapping[str, Json], columns: Columns, words: Words, strange: Counter[str]
) -> LabelledPair | str:
    """The record as a pair, or why it is none."""
    sides = [value_at(record, str(place)) for place in (columns.answer_1, columns.answer_2)]
    if any(side is None or isinstance(side, Nothing) for side in sides):
        return "without two answers"
    messages = _messages([value_at(record, place) for place in columns.prompt])
    if not messages:
        return "without a request"
    said = [word for place in columns.labels if (word := word_at(record, place)) is not None]
    if not said:
        return "without a label"
    labels = [label for word in said if (label := words.read(word)) is not None]
    strange.update(word for word in said if words.read(word) is None)
    if not labels:
        return "with a label that means nothing"
    (most, n), *rest = Counter(labels).most_common()
    if any(other == n for _, other in rest):
        return "without a majority of labellers"
    return LabelledPair(
        row=row,
        messages=messages,
        answer_1=_text(sides[0]),
        answer_2=_text(sides[1]),
        label=most,
        labellers=len(labels),
        further={place: word_at(record, place) for place in columns.further},
    )


def _messages(values: Sequence[Json]) -> tuple[Message, ...]:
    """One user message of everything that is text; a list of chat messages as it is."""
    if len(values) == 1 and isinstance(values[0], list) and values[0]:
        messages = [item for item in values[0] if isinstance(item, Mapping) and "role" in item]
        if len(messages) == len(values[0]):
            return tuple(messages)
    texts = [_text(value) for value in values if value is not None and value is not NOTHING]
    text = "\n\n".join(part for part in texts if part.strip())
    return ({"role": "user", "content": text},) if text else ()


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _why_none(left_out: Counter[str], strange: Counter[str], words: Words) -> str:
    counted = ", ".join(f"{n:,} {reason}" for reason, n in left_out.most_common())
    text = f"no record is a labelled pair ({counted})"
    if strange:
        said = ", ".join(repr(word[:40]) for word, _ in strange.most_common(5))
        text += f"; labels are {said}, not {words}: name them with --first, --second and --tie"
    return text


def _listed(record: Mapping[str, Json]) -> str:
    return _shown(sorted(record))


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:40] for name in names[:_SHOWN]) + more if names else "none"
