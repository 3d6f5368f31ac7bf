"""The words the report uses, in one sentence each."""

WORDS = (
    (
        "A/A",
        "Production asked again in the candidate's place: a comparison whose true answer is no difference, so that "
        "what it shows is noise.",
    ),
    ("Advisory", "A criterion that is shown and never decides."),
    (
        "Alpha",
        "The chance of a wrong GO that was accepted beforehand, for all attempts of a candidate's family together.",
    ),
    (
        "Anytime-valid bound",
        "A bound that holds with its confidence at every look at growing data at once, so that anybody may look and "
        "stop whenever they like.",
    ),
    (
        "Attempt, ledger",
        "One try of a candidate's family at a GO; the ledger counts them, and gives every further one a smaller part "
        "of alpha.",
    ),
    (
        "Best set",
        "The candidates that no other one is shown to beat on a metric: with the stated confidence the truly best one "
        "is among them, however many candidates there are.",
    ),
    (
        "Bias of a judge",
        "People's mean score less the judge's on the same pairs; below zero the judge favours the candidate.",
    ),
    ("Candidate", "The model, prompt or setting that wants to take over from production."),
    ("Canary", "A pair of our own whose better answer is known, read by a judge before it is paid for real ones."),
    (
        "Clusters",
        "Independent groups of requests: all requests of one conversation, or of one user, count as one group.",
    ),
    ("Comparable", "Both production and the candidate completed the request, so there are two answers to compare."),
    (
        "Conclusive",
        "The bound that decides lies on one side of the threshold, so chance is no longer a likely explanation.",
    ),
    (
        "Corrected by people (PPI++)",
        "A judge's win rate on all pairs, moved by its error on those that people labelled; the more alike they "
        "score, the more the judge's many verdicts sharpen people's few.",
    ),
    ("Criterion", "A go/no-go rule: a metric, a threshold and the side of it that passes."),
    (
        "Distance from the noise floor",
        "The candidate's figure less that of production asked again, on the same requests: what is left of a "
        "difference when production's own noise is taken out.",
    ),
    (
        "Dropped, skipped, failed",
        "Not asked because of overload; not asked by policy or budget; asked, and the arm's own error.",
    ),
    (
        "E-value",
        "What a stake of 1 has grown to when betted against a statement; while the statement holds it exceeds 20 at "
        "most once in 20 times, at whatever time one looks.",
    ),
    (
        "Effective n",
        "How many independent pairs would tell as much as these, which come in conversations.",
    ),
    (
        "Efficient frontier",
        "The candidates that no other one outdoes in quality and cost, or quality and latency, at once, by measured "
        "value.",
    ),
    ("Exchange", "One recorded production request with what production answered."),
    (
        "Flagged slice",
        "A part of the traffic that breaks a rule even when the number of parts looked at is taken into account.",
    ),
    (
        "Flip",
        "A judge that prefers one answer in one order and the other answer in the other order: it looked at places.",
    ),
    ("First-slot share", "How often the answer shown first was preferred; 50% is unbiased."),
    (
        "GO, NO_GO, INCONCLUSIVE",
        "Every required criterion passes and nothing speaks against it; at least one fails; neither can be said with "
        "the data at hand.",
    ),
    (
        "Interval",
        "The range that holds the true value with the stated confidence, given the requests that were sampled.",
    ),
    (
        "Judge, judgment",
        "A program or model that scores a pair of answers; what it said, with its reason, or why it gave no score.",
    ),
    (
        "Kappa",
        "Agreement beyond what chance alone would give: 0 is no better than chance, 1 is perfect.",
    ),
    ("Label", "What one person says about one pair without knowing which answer is whose."),
    (
        "Length-controlled",
        "The win rate that would be left if both answers were of the same length and style: judges, like people, "
        "tend to prefer the longer one.",
    ),
    ("Look", "One time at which somebody holds the data so far against the rules."),
    (
        "Noise floor",
        "What production does to itself when asked the same again; a candidate cannot be expected to be closer "
        "than that.",
    ),
    (
        "Non-inferiority, superiority",
        "Not worse than production by more than a margin, which an equal candidate can show; better than production, "
        "which it cannot.",
    ),
    (
        "Objection",
        "Why figures that would pass are not believed: the judge failed a check, people say otherwise, length explains "
        "it, or a slice loses.",
    ),
    ("P50, P95, P99", "The time within which 50, 95 or 99 of 100 requests were answered."),
    ("Pair", "Production's and one candidate's answer to the same request."),
    ("Points (pp)", "Percentage points: the difference of two shares."),
    ("Production", "The model that serves users today."),
    ("Replica", "Production asked a second time on a share of the requests."),
    ("Slice", "The requests that share one value of an attribute, such as a language or a topic."),
    ("Time to first token", "How long a user waits before the answer begins."),
    (
        "Unattainable",
        "A rule that not even production meets when it is asked again: no candidate can be held to it.",
    ),
    (
        "Unscored",
        "A judge gave no usable answer for the pair; it is counted apart, never as a tie and never as a zero.",
    ),
)


def anchor_of(word: str) -> str:
    """Id of a word's entry in the glossary: ``word-noise-floor``."""
    return "word-" + "-".join("".join(c if c.isalnum() else " " for c in word.lower()).split())
