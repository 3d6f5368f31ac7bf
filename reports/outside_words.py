"""Which words of a report readers outside may see, and which are hidden in the sentences that stay."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.domain.report import EvaluationReport

OWN_ATTRIBUTES = frozenset({"model", "has_tools", "turns", "prompt_length", "answer_length", "language", "script"})
"""Slice attributes whose values we compute ourselves; all others hold what the application, or a user, wrote."""
MOST_VALUES = 12
"""An attribute with more values than this may tell people or customers apart; its values are hidden."""
LEAST_PAIRS = 20
"""A value on fewer pairs than this may be one person's; it is hidden."""
LEAST_WORD = 6
LEFT_OUT = "[left out]"

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.:+/ -]{0,59}|\d[\w.+-]{0,39}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_VALUE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,23}|\d{1,3}(?:-\d{1,3})?\+?")
_MODEL = re.compile(r"(?![./~])[A-Za-z0-9][\w.:@+-]*(/[\w.:@+-]+){0,4}")
_FILE = re.compile(r"\.[A-Za-z]{2,7}(\.(gz|zst))?$")
_HOST = re.compile(
    r"(?:[\w-]+\.)+(?:com|net|org|io|dev|ai|cloud|local|internal|lan|corp|test|example)(?::\d+)?$|localhost"
)
_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_PATH = re.compile(
    r"(?<![\w/])(?:~|\.{1,2})?/(?:[^\s'\"<>`:;,()]+/?)+|\b[A-Za-z]:\\[^\s'\"<>`]+"
    r"|(?<![\w/])[^\s'\"<>`:;,()]+\.(?:jsonl?|ndjson|csv|parquet|ya?ml|md|txt|gz|zst|db|log)\b"
)
_TYPED = re.compile(r"`harness [^`]*`")
_DETECTED = " (detected)"


def is_plain_name(text: str) -> bool:
    """Whether it can only be a name: short, on one line, and no address, path or sentence."""
    return bool(_PLAIN.fullmatch(text)) and "//" not in text and not _FILE.search(text.partition(" ")[0])


def plain(text: str, otherwise: str) -> str:
    """A word of a closed set as it is; anything else as ``otherwise``."""
    return text if _WORD.fullmatch(text) else otherwise


def model_name(model: str) -> str:
    """What answered: a model by its name; files and addresses only as what they are."""
    named = _MODEL.fullmatch(model) and len(model) <= 100 and "arn:" not in model
    if named and not _is_file(model) and not _HOST.search(model):
        return model
    return "recorded answers" if _is_file(model) else "a model"


def models(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by model, those without a name that can be shown together."""
    found: dict[str, int] = {}
    for model, count in counts.items():
        name = model_name(model)
        found[name] = found.get(name, 0) + count
    return found


def shown_dialect(text: str) -> str:
    """The dialect a file was read as, where it is one we know."""
    # Loaded here: dialects are looked at by nothing else that renders.
    from harness.ingest import detect

    return text if text.removesuffix(_DETECTED) in detect.known() else "a dialect of its own"


def shown_values(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by ``attribute=value``, values that have to be hidden numbered in their order."""
    split = [(*text.rpartition("=")[::2], text, count) for text, count in counts.items()]
    attributes: dict[str, list[tuple[str, int]]] = {}
    for attribute, value, _, count in split:
        attributes.setdefault(attribute, []).append((value, count))
    hidden = Hidden()
    for attribute, values in attributes.items():
        hidden.add_attribute(attribute, values)
    found: dict[str, int] = {}
    for attribute, value, _, count in split:
        shown = hidden.value(attribute, value)
        found[f"{hidden.attribute(attribute)}={shown}" if attribute else shown] = count
    return found


@dataclass
class Hidden:
    """The words of one report that readers outside must not see."""

    values: dict[str, dict[str, str]] = field(default_factory=dict)
    """By attribute: its values with what stands for each."""
    words: dict[str, str] = field(default_factory=dict)
    """Texts to be taken out of sentences wherever they stand, with what stands for each."""

    @classmethod
    def of(cls, report: EvaluationReport) -> "Hidden":
        """Everything the report hides."""
        hidden = cls()
        for listed in _slices_of(report):
            found: dict[str, dict[str, int]] = {}
            for attribute, value, n in listed:
                counts = found.setdefault(attribute, {})
                counts[value] = max(counts.get(value, 0), n)
            for attribute, values in found.items():
                hidden.add_attribute(attribute, values.items())
        for candidate in report.candidates:
            hidden.words |= {example.exchange_id: LEFT_OUT for example in candidate.examples}
        for model in _model_names(report):
            if model_name(model) != model:
                hidden.words[model] = model_name(model)
        for file in (*report.ingest.files, report.ingest.rejects_file or ""):
            hidden.words[file] = LEFT_OUT
        # Short ones are not looked for: they would be taken out of figures and words that have nothing to do with them.
        hidden.words = {word: stands for word, stands in hidden.words.items() if len(word) >= LEAST_WORD}
        return hidden

    def add_attribute(self, attribute: str, values: Iterable[tuple[str, int]]) -> None:
        """Decide on every value of an attribute, which comes with the number of its pairs."""
        listed = list(values)
        known = self.values.setdefault(attribute, {})
        many = len({value for value, _ in listed} | set(known)) > MOST_VALUES
        for value, n in listed:
            if not _may_be_shown(attribute, value, n, many=many):
                known.setdefault(value, f"value {len(known) + 1}")

    def attribute(self, attribute: str) -> str:
        """The attribute's name, where it is one."""
        return attribute if re.fullmatch(r"[A-Za-z][\w.-]{0,59}", attribute) else "an attribute"

    def value(self, attribute: str, value: str) -> str:
        """The value, or what stands for it."""
        return self.values.get(attribute, {}).get(value, value)

    def said(self, sentence: str) -> str:
        """A sentence of ours without anything hidden in it."""
        for attribute, values in self.values.items():
            for value, stands in sorted(values.items(), key=lambda item: -len(item[0])):
                for joint in (" ", "=", ": "):
                    sentence = sentence.replace(
                        f"{attribute}{joint}{value}", f"{self.attribute(attribute)}{joint}{stands}"
                    )
                if len(value) >= LEAST_WORD:
                    sentence = sentence.replace(value, stands)
        for word in sorted(self.words, key=len, reverse=True):
            sentence = sentence.replace(word, self.words[word])
        # What a reader outside could type has no meaning to him, and names files.
        sentence = _TYPED.sub("`harness …`", sentence)
        return _PATH.sub(LEFT_OUT, _ADDRESS.sub(LEFT_OUT, sentence))


def _may_be_shown(attribute: str, value: str, n: int, *, many: bool) -> bool:
    if attribute == "model":
        return model_name(value) == value
    if attribute in OWN_ATTRIBUTES:
        return is_plain_name(value) or bool(_VALUE.fullmatch(value))
    # A topic is named by words of requests.
    if attribute.partition(".")[0] == "topic":
        return False
    return not many and n >= LEAST_PAIRS and bool(_VALUE.fullmatch(value))


def _slices_of(report: EvaluationReport) -> Iterable[list[tuple[str, str, int]]]:
    """Attribute, value and pairs of the slices, once for each part of the report that lists some."""
    for candidate in report.candidates:
        listed = [(item.attribute, item.value, item.n) for item in candidate.slices]
        yield listed + [(test.attribute, test.value, test.n) for test in candidate.slice_tests]
    if report.side_by_side is not None:
        yield [(item.attribute, item.value, item.n) for item in report.side_by_side.slices]


def _model_names(report: EvaluationReport) -> Iterable[str]:
    yield from report.production_models
    for candidate in report.candidates:
        yield candidate.model
        yield from candidate.answered_models
        for judge in candidate.judges:
            yield from (judge.model or "", *judge.further_models)


def _is_file(model: str) -> bool:
    return any(_FILE.search(part) for part in model.split(", ")) and bool(
        re.search(r"\.(jsonl?|ndjson|csv|parquet)(\.(gz|zst))?$", model)
    )
