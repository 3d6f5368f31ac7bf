"""Verdicts from a file: people's labels, or those of another system."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast

from harness.config import Redaction
from harness.domain.estimate import Metric
from harness.domain.json import Json
from harness.domain.judgment import Judgment, Label, UnscoredReason
from harness.domain.metrics import WIN_RATE
from harness.domain.observation import REPLICA
from harness.domain.pair import Pair
from harness.errors import ConfigurationError, InputError
from harness.ingest import files
from harness.ingest.redaction import Redactor
from harness.judging.protocol import JudgeContext


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verdict:
    """One row of the file; neither value nor problem when the row leaves the verdict open."""

    value: float | None = None
    problem: str | None = None
    recorded: Json = None
    reason: str | None = None
    row: int = 0


@dataclass(frozen=True, kw_only=True)
class RecordedJudge:
    """The verdict a file holds for a pair, as the candidate's share: 1 win, 0.5 tie, 0 loss.

    The file is JSON lines, a JSON list or CSV, plain or packed, and is read once, when the judge is made. Of several
    rows with one key the first counts.

    Raises:
        ConfigurationError: options that do not go together.
        InputError: the file cannot be read or lacks a named column; the message names file and line.
    """

    name: ClassVar[str] = "recorded"
    version: ClassVar[str] = "1"
    metric: ClassVar[Metric] = WIN_RATE

    file: str = field(metadata={"fingerprint": False})
    """Path, glob or URL; what counts is the content, so a moved file is judged no second time."""
    key: str = "id"
    """Column that says which pair a row is about."""
    match: str = "id"
    """What of a pair the key is: ``id``, ``trace_id``, ``prompt`` (the last user message) or ``metadata.<name>``."""
    value: str | None = None
    """Column with a number; ``low`` is a sure loss of the candidate, ``high`` a sure win."""
    low: float = 0.0
    high: float = 1.0
    draw_values: tuple[float, ...] = ()
    """Further numbers that mean a tie."""
    label: str | None = None
    """Column with a word, instead of ``value``."""
    labels: Mapping[str, Literal["win", "tie", "loss"]] = field(
        default_factory=lambda: {"win": "win", "tie": "tie", "loss": "loss"}
    )
    """What the words mean for the candidate."""
    reason: str | None = None
    """Column with the explanation."""
    invert: bool = False
    """The file's verdicts are from production's side."""
    arm: str | None = None
    """The candidate the verdicts are about; every candidate when not set."""
    sha256: str = ""
    """Hash of the file's content, filled in when empty: other content means other judgments."""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.label is None):
            raise ConfigurationError(
                "name exactly one of `value` (a column of numbers) and `label` (a column of words)"
            )
        if self.low == self.high:
            raise ConfigurationError("`low` and `high` must differ")
        if self.match not in {"id", "trace_id", "prompt"} and not self.match.startswith("metadata."):
            raise ConfigurationError(f"`match` is id, trace_id, prompt or metadata.<name>, not {self.match!r}")
        table = _Table(self)
        if self.sha256 not in {"", table.sha256}:
            raise ConfigurationError(f"{self.file} has changed: its sha256 is {table.sha256}, not {self.sha256}")
        object.__setattr__(self, "sha256", table.sha256)
        # Not a field: fields are the configuration, and make the fingerprint.
        object.__setattr__(self, "_loaded", table)

    @property
    def duplicates(self) -> int:
        """Rows left out because an earlier one has the same key."""
        return self._table.duplicates

    @property
    def _table(self) -> "_Table":
        return cast("_Table", self.__dict__["_loaded"])

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment; a pair without a row is NOT_APPLICABLE, a verdict that means nothing is OFF_MENU."""
        if not pair.is_comparable:
            return [ctx.unscored(pair, UnscoredReason.NOT_COMPARABLE)]
        if pair.arm == REPLICA or self.arm not in {None, pair.arm}:
            return [ctx.unscored(pair, UnscoredReason.NOT_APPLICABLE, explanation="the verdicts are of another arm")]
        verdict = self._table.find(_key_of(pair, self.match))
        if verdict is None:
            return [ctx.unscored(pair, UnscoredReason.NOT_APPLICABLE, explanation="no verdict recorded")]
        details = {"recorded": verdict.recorded, "row": verdict.row}
        if verdict.problem is not None:
            return [ctx.unscored(pair, UnscoredReason.OFF_MENU, explanation=verdict.problem, details=details)]
        if verdict.value is None:
            note = "the row of this pair holds no verdict"
            return [ctx.unscored(pair, UnscoredReason.NOT_APPLICABLE, explanation=note, details=details)]
        label = Label.TIE if verdict.value == 0.5 else Label.WIN if verdict.value > 0.5 else Label.LOSS
        return [ctx.scored(pair, value=verdict.value, label=label, explanation=verdict.reason, details=details)]


class _Table:
    """The verdicts by key; keys as hashes, so that a file of long prompts costs no more than one of ids."""

    def __init__(self, judge: RecordedJudge) -> None:
        self._judge = judge
        # Exchanges are redacted before they are stored, so the file's keys are compared as redaction leaves them.
        self._redactor = Redactor(Redaction())
        self._verdicts: dict[bytes, _Verdict] = {}
        self.duplicates = 0
        digest = hashlib.sha256()
        columns: set[str] = set()
        for row, (where, record) in enumerate(self._records(digest), 1):
            columns |= record.keys()
            self._add(where, row, record)
        self.sha256 = digest.hexdigest()
        wanted = {judge.value or judge.label, judge.reason} - {None}
        missing = sorted(str(column) for column in wanted - columns)
        if missing:
            found = ", ".join(sorted(columns)) or "none"
            raise InputError(f"{judge.file}: no row has a column {missing[0]!r}; columns: {found}")

    def find(self, key: str | None) -> _Verdict | None:
        return None if key is None else self._verdicts.get(self._hash(key))

    def _records(self, digest: Any) -> Iterator[tuple[str, Mapping[str, Json]]]:
        for export in files.expand([self._judge.file]):
            for number, item in enumerate(files.read(export, files.Meter()), 1):
                digest.update(item.raw + b"\n")
                line = f"line {item.line}" if item.line is not None else f"record {number}"
                where = f"{item.file}, {line}"
                if item.problem is not None:
                    raise InputError(f"{where}: {item.detail}")
                if item.value is not None:
                    yield where, item.value

    def _add(self, where: str, row: int, record: Mapping[str, Json]) -> None:
        if self._judge.key not in record:
            columns = ", ".join(sorted(record)) or "none"
            raise InputError(f"{where}: no column {self._judge.key!r}; columns: {columns}")
        key = _text(record[self._judge.key])
        if key is None:
            return
        hashed = self._hash(key)
        if hashed in self._verdicts:
            self.duplicates += 1
            return
        self._verdicts[hashed] = self._verdict(row, record)

    def _hash(self, key: str) -> bytes:
        kind = self._judge.match
        if kind == "prompt":
            key = self._redactor.text(key.strip())
        elif kind != "id":
            key = self._redactor.identifier(key) or key
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def _verdict(self, row: int, record: Mapping[str, Json]) -> _Verdict:
        judge = self._judge
        recorded = record.get(judge.value or judge.label or "")
        reason = _text(record.get(judge.reason)) if judge.reason else None
        if reason is not None:
            reason = self._redactor.text(reason)
        text = _text(recorded)
        if text is None:
            return _Verdict(row=row, recorded=recorded, reason=reason)
        found = self._number(recorded, text) if judge.value is not None else self._label(text)
        if isinstance(found, str):
            return _Verdict(row=row, recorded=recorded, reason=reason, problem=found)
        value = 1.0 - found if judge.invert else found
        return _Verdict(row=row, recorded=recorded, reason=reason, value=value)

    def _number(self, recorded: Json, text: str) -> float | str:
        judge = self._judge
        try:
            number = float("nan") if isinstance(recorded, bool) else float(text)
        except ValueError:
            number = float("nan")
        if number in judge.draw_values:
            return 0.5
        share = (number - judge.low) / (judge.high - judge.low)
        return share if 0.0 <= share <= 1.0 else f"{text[:80]!r} is no number from {judge.low:g} to {judge.high:g}"

    def _label(self, text: str) -> float | str:
        label = self._judge.labels.get(text)
        if label is None:
            return f"{text[:80]!r} is none of {', '.join(self._judge.labels)}"
        return Label(label).share


def _text(value: Json) -> str | None:
    """A cell as text; ``None`` for null and for nothing but white space."""
    if value is None or isinstance(value, dict | list):
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.strip() or None


def _key_of(pair: Pair, match: str) -> str | None:
    if match == "id":
        return pair.exchange_id
    if match == "prompt":
        return _last_user_text(pair)
    return pair.exchange.metadata.get(match.removeprefix("metadata."))


def _last_user_text(pair: Pair) -> str | None:
    for message in reversed(pair.request.messages):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, list):
            content = "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
        return content if isinstance(content, str) and content.strip() else None
    return None
