"""People's labels as files: out as JSON lines or CSV, in from whatever a team has."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from harness.domain.json import Json
from harness.domain.judgment import Label
from harness.domain.label import HumanLabel, LabelSource, Side
from harness.errors import ConfigurationError, HarnessError, InputError
from harness.ingest import files
from harness.ingest.records import Item
from harness.ingest.redaction import Redactor
from harness.pipeline.arms import Arm
from harness.pipeline.label_plan import comparable
from harness.pipeline.labelling import labeller_name, note_of
from harness.pipeline.session import Session

COLUMNS = (
    "exchange_id", "arm", "observation_fingerprint", "labeller", "label", "shown_first", "probability", "design",
    "source", "note", "seconds", "recorded_at",
)  # fmt: skip
SKIPPED = "skip"
"""What stands for a skipped pair in a file, where an empty cell would say nothing."""
_PROBLEMS = 1_000
"""Rows whose problem is told; all are counted."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the columns and words of a file mean."""

    id: str | None = None
    """Column with the exchange id; ``exchange_id``, else ``id``, when not set."""
    label: str = "label"
    labeller: str = "labeller"
    probability: str = "probability"
    words: Mapping[str, Label | None] = field(
        default_factory=lambda: {**{label.value: label for label in Label}, SKIPPED: None}
    )
    """What a label means for the candidate, whatever its case; ``None`` is a skipped pair."""
    nameless: str | None = None
    """Labeller of rows that name none; the file's name when not set."""
    random_sample: bool = False
    """Whether the file's pairs are a simple random sample of the comparable ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A row that was kept out."""

    place: str
    """File and line."""
    ending: str
    """What it is counted as."""
    message: str


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of every row; ``endings`` add up to ``rows``."""

    rows: int
    endings: Mapping[str, int]
    """``imported``, ``replaced``, ``unchanged``, and why others were kept out."""
    problems: tuple[Problem, ...]
    labellers: tuple[str, ...]
    n_pairs: int
    """Pairs the file says something about."""
    n_comparable: int
    with_probability: int
    """Labels of the file that stand for more than themselves."""


class _RowError(HarnessError):
    """A row that is kept out."""

    def __init__(self, ending: str, message: str) -> None:
        super().__init__(message)
        self.ending = ending


def export_rows(session: Session, arms: Sequence[Arm]) -> Iterator[dict[str, Any]]:
    """Every label on the arms' answers with the chance its pair had to be labelled, by exchange and labeller."""
    for arm in arms:
        plan = {item.exchange_id: item for item in session.store.label_plan(session.run_id, arm.name, arm.fingerprint)}
        for label in session.store.labels(session.run_id, arm.name, arm.fingerprint):
            planned = plan.get(label.exchange_id)
            yield {
                "exchange_id": label.exchange_id,
                "arm": arm.name,
                "observation_fingerprint": label.observation_fingerprint,
                "labeller": label.labeller,
                "label": label.label.value if label.label else SKIPPED,
                "shown_first": label.shown_first,
                "probability": planned.probability if planned else label.probability,
                "design": planned.design if planned else None,
                "source": label.source.value,
                "note": label.note,
                "seconds": label.seconds,
                "recorded_at": label.recorded_at.isoformat(),
            }


def as_jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    """One JSON object per line."""
    return "".join(orjson.dumps(row).decode() + "\n" for row in rows)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a header; a text that a spreadsheet would run as a formula is quoted with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return stream.getvalue()


def import_labels(session: Session, arm: Arm, source: str, reading: Reading) -> Imported:
    """Read a file's labels on the arm's answers into the store; bad rows are kept out, the others go in.

    Raises:
        ConfigurationError: the file is said to be a random sample, and the arm has a plan with chances of its own.
        InputError: the file cannot be read, lacks a column, or holds nothing that can be used.
    """
    reader = _Reader(session, arm, reading)
    if reading.random_sample and reader.planned:
        raise ConfigurationError(
            f"the pairs of {arm.name!r} were drawn by a plan, which says how likely each was; "
            "leave out --as-random-sample"
        )
    rows = 0
    for export in files.expand([source]):
        for number, item in enumerate(files.read(export, files.Meter()), 1):
            if item.value is None and item.problem is None:
                continue
            rows += 1
            reader.take(item, number, reading.nameless or _stem(export.name), is_csv=export.suffix == ".csv")
    reader.check_columns(source, rows)
    labels = reader.finished()
    if not labels:
        raise InputError(_nothing(source, rows, reader))
    session.store.put_labels(session.run_id, [label for label, is_new in labels if is_new])
    return Imported(
        rows=rows,
        endings=dict(reader.endings),
        problems=tuple(reader.problems),
        labellers=tuple(sorted({label.labeller for label, _ in labels})),
        n_pairs=len({label.exchange_id for label, _ in labels}),
        n_comparable=len(reader.comparable),
        with_probability=sum(
            label.probability is not None or label.exchange_id in reader.planned for label, _ in labels
        ),
    )


class _Reader:
    """Turns rows into labels and counts every ending."""

    def __init__(self, session: Session, arm: Arm, reading: Reading) -> None:
        store, run_id = session.store, session.run_id
        evidence = store.evidence(run_id, arm.name, arm.fingerprint, judges={})
        self.comparable = frozenset(evidence.exchange_ids[comparable(evidence)].tolist())
        self.planned = {item.exchange_id for item in store.label_plan(run_id, arm.name, arm.fingerprint)}
        self.endings: Counter[str] = Counter()
        self.problems: list[Problem] = []
        self._arm = arm
        self._reading = reading
        self._known = frozenset(evidence.exchange_ids.tolist())
        self._stored = {
            (item.exchange_id, item.labeller): item for item in store.labels(run_id, arm.name, arm.fingerprint)
        }
        self._redactor = Redactor(session.experiment.traffic.redaction)
        self._now = datetime.now(UTC)
        self._columns: set[str] = set()
        self._found: dict[tuple[str, str], tuple[HumanLabel, bool]] = {}
        """Labels of the file by their key, and whether they are dated by it."""

    def take(self, item: Item, number: int, nameless: str, *, is_csv: bool) -> None:
        """One row."""
        try:
            self._add(item, nameless, is_csv=is_csv)
        except _RowError as error:
            self.endings[error.ending] += 1
            if len(self.problems) < _PROBLEMS:
                known = item.line is not None or item.position is not None
                place = item.place if known else f"{item.file} (record {number})"
                self.problems.append(Problem(place=place, ending=error.ending, message=str(error)))

    def _add(self, item: Item, nameless: str, *, is_csv: bool) -> None:
        if item.value is None:
            raise _RowError("unreadable", item.detail)
        self._columns |= item.value.keys()
        label, dated = self._label(_unquoted(item.value) if is_csv else item.value, nameless)
        key = (label.exchange_id, label.labeller)
        if key in self._found:
            what = f"a second label of {label.labeller!r} on {label.exchange_id!r}; the first counts"
            raise _RowError("duplicate", what)
        self._found[key] = (label, dated)

    def check_columns(self, source: str, rows: int) -> None:
        """Raise InputError when no row has a column that is needed."""
        wanted = [self._reading.label, *([self._reading.id] if self._reading.id else [])]
        missing = [name for name in wanted if name not in self._columns]
        if not self._reading.id and not self._columns & {"exchange_id", "id"}:
            missing.append("exchange_id")
        if rows and self._columns and missing:
            found = ", ".join(sorted(self._columns))
            raise InputError(f"{source}: no row has a column {missing[0]!r}; name it with an option; columns: {found}")

    def finished(self) -> list[tuple[HumanLabel, bool]]:
        """The file's labels, and whether they say something the store does not hold."""
        chance = len({label.exchange_id for label, _ in self._found.values()}) / max(len(self.comparable), 1)
        labels = []
        for key, (label, dated) in self._found.items():
            if self._reading.random_sample:
                label = replace(label, probability=chance)
            old = self._stored.get(key)
            ending = _ending(label, old, dated=dated)
            self.endings[ending] += 1
            labels.append((label, ending in {"imported", "replaced"}))
        return labels

    def _label(self, row: Mapping[str, Json], nameless: str) -> tuple[HumanLabel, bool]:
        reading = self._reading
        raw = row.get(reading.id or ("exchange_id" if "exchange_id" in row else "id"))
        exchange_id = raw if isinstance(raw, str) and raw in self._known else _text(raw)
        if exchange_id is None:
            raise _RowError("no_id", "names no exchange")
        self._check_pair(row, exchange_id)
        word = _text(row.get(reading.label))
        if word is None:
            raise _RowError("no_label", f"holds no label for {exchange_id!r}")
        if word.casefold() not in reading.words:
            raise _RowError("bad_label", f"the label {word[:80]!r} is none of {', '.join(reading.words)}")
        try:
            labeller = labeller_name(_text(row.get(reading.labeller)) or nameless)
        except ConfigurationError as error:
            raise _RowError("bad_labeller", str(error)) from error
        recorded_at = _time(row.get("recorded_at"))
        label = HumanLabel(
            exchange_id=exchange_id,
            arm=self._arm.name,
            observation_fingerprint=self._arm.fingerprint,
            labeller=labeller,
            label=reading.words[word.casefold()],
            recorded_at=recorded_at or self._now,
            shown_first=_side(row.get("shown_first")),
            probability=None if exchange_id in self.planned else self._probability(row),
            source=LabelSource.PAGE if row.get("source") == LabelSource.PAGE.value else LabelSource.IMPORT,
            note=note_of(_text(row.get("note")), self._redactor),
            seconds=_seconds(row.get("seconds")),
        )
        return label, recorded_at is not None

    def _check_pair(self, row: Mapping[str, Json], exchange_id: str) -> None:
        arm = _text(row.get("arm"))
        if arm is not None and arm != self._arm.name:
            raise _RowError("other_arm", f"is about {arm[:80]!r}")
        if exchange_id not in self._known:
            raise _RowError("unknown_id", f"no exchange {exchange_id[:80]!r} in this run")
        if exchange_id not in self.comparable:
            raise _RowError("not_comparable", f"{exchange_id[:80]!r} has no two answers to compare")
        fingerprint = _text(row.get("observation_fingerprint"))
        if fingerprint is not None and fingerprint != self._arm.fingerprint:
            raise _RowError("other_answer", f"is about an answer of {self._arm.name!r} under another configuration")

    def _probability(self, row: Mapping[str, Json]) -> float | None:
        text = _text(row.get(self._reading.probability))
        if text is None:
            return None
        if self._reading.random_sample:
            raise _RowError("bad_probability", "says how likely it was itself, which contradicts --as-random-sample")
        value = _number(text)
        if value is None or not 0.0 < value <= 1.0:
            raise _RowError("bad_probability", f"the probability {text[:40]!r} is no number above 0 and up to 1")
        return value


def meanings(
    win: Sequence[str], tie: Sequence[str], loss: Sequence[str], skip: Sequence[str]
) -> dict[str, Label | None]:
    """What words mean, case folded.

    Raises:
        ConfigurationError: one word is given two meanings.
    """
    found: dict[str, Label | None] = {}
    for words, label in ((win, Label.WIN), (tie, Label.TIE), (loss, Label.LOSS), (skip, None)):
        for word in words:
            key = word.strip().casefold()
            if found.setdefault(key, label) is not label:
                raise ConfigurationError(
                    f"the word {word!r} is given two meanings; give it one of --win, --tie, --loss, --skip"
                )
    return found


def _ending(label: HumanLabel, old: HumanLabel | None, *, dated: bool) -> str:
    if old is None:
        return "imported"
    if replace(label, recorded_at=old.recorded_at) == old and (not dated or label.recorded_at == old.recorded_at):
        return "unchanged"
    return "older" if dated and label.recorded_at < old.recorded_at else "replaced"


def _nothing(source: str, rows: int, reader: _Reader) -> str:
    if not rows:
        return f"{source}: holds no row"
    ending, count = reader.endings.most_common(1)[0]
    first = next((f"; {item.place}: {item.message}" for item in reader.problems if item.ending == ending), "")
    return f"{source}: none of its {rows:,} rows can be used; {count:,} are kept out as {ending}{first}"


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(".", 1)[0]


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def _unquoted(row: Mapping[str, Json]) -> Mapping[str, Json]:
    """The row without the apostrophes of :func:`_cell`."""
    return {
        key: value[1:] if isinstance(value, str) and value[:1] == "'" and _is_formula(value) else value
        for key, value in row.items()
    }


def _is_formula(text: str) -> bool:
    return text.lstrip("'").startswith(_FORMULA)


def _text(value: Json) -> str | None:
    """A cell as text; ``None`` for null and for nothing but white space."""
    if value is None or isinstance(value, dict | list):
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.strip() or None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _seconds(value: Json) -> float | None:
    number = _number(_text(value) or "")
    return number if number is not None and number >= 0 else None


def _side(value: Json) -> Side | None:
    return cast("Side", value) if value in ("production", "candidate") else None


def _time(value: Json) -> datetime | None:
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value) or "")
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
