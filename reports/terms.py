"""Which labels of the page are words of the glossary, and where these stand."""

from collections.abc import Mapping

from reports.glossary import WORDS, anchor_of

_LABELS: Mapping[str, str] = {
    "Adjusted p": "Flagged slice",
    "Attempt": "Attempt, ledger",
    "Attempts": "Attempt, ledger",
    "Beside the noise floor": "Noise floor",
    "Can the judges be believed?": "Judge, judgment",
    "Chance of a wrong GO": "Alpha",
    "Comparable pairs": "Comparable",
    "Corrected by people": "Corrected by people (PPI++)",
    "Criteria": "Criterion",
    "Criterion": "Criterion",
    "Distance": "Distance from the noise floor",
    "E-value": "E-value",
    "Estimate and interval": "Interval",
    "First shown preferred": "First-slot share",
    "Horizon": "Look",
    "Judge health": "Judge, judgment",
    "Kappa": "Kappa",
    "Looks": "Look",
    "Noise floor": "Noise floor",
    "Opposite winners": "Flip",
    "Pairs compared": "Pair",
    "People": "Label",
    "Production asked again": "Replica",
    "Profile": "Non-inferiority, superiority",
    "Slices": "Slice",
    "Unscored": "Unscored",
}
"""Label to the word that explains it. What a reader knows anyway, such as production, is left alone."""


TERMS: Mapping[str, str] = {label: f"#{anchor_of(word)}" for label, word in _LABELS.items() if word in dict(WORDS)}
"""Label to where it is explained."""
