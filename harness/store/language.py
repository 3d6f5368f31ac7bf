"""Which language a text is in, by the model inside the package py3langid: offline, and the same on every machine."""

import re
from functools import cache
from typing import Any

UNKNOWN = "unknown"

_SAMPLE = 500
_MIN_LETTERS = 20
_MIN_CONFIDENCE = 0.5
# Measured on 274 one-sentence prompts in 24 languages: below it are pseudo-code, lists of names, and one of two close
# relatives taken for the other; above it the only wrong answer was Malay for Indonesian.
_DENSE = re.compile("[\u0900-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
_DENSE_EXTRA = 2
"""A character of an Indic, Thai, Khmer, Han, kana or hangul text says as much as three letters."""
_SAME = {"nn": "no", "zxx": UNKNOWN, "und": UNKNOWN}
"""Nynorsk is written Norwegian; ``zxx`` is the model's class for what is no language, ``und`` its doubt."""


def language(text: str) -> str:
    """ISO 639-1 code of the language the first 500 characters are mostly in, or ``unknown``.

    Unknown is what has fewer than 20 letters and what the model is not sure of: code, lists, a mixture, or two
    languages as close as Danish and Norwegian. Never fails, whatever the text holds.
    """
    sample = text[:_SAMPLE]
    if sum(map(str.isalpha, sample)) + _DENSE_EXTRA * len(_DENSE.findall(sample)) < _MIN_LETTERS:
        return UNKNOWN
    code: str = _identifier().classify(sample)[0]
    return _SAME.get(code, code)


@cache
def _identifier() -> Any:
    """Loaded once per process, in under a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    found = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=_MIN_CONFIDENCE)
    # Its three-letter classes are regional forms of the others and split their share.
    found.set_languages([code for code in found.labels if len(code) == 2 or code == "zxx"])
    return found
