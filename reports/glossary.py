"""The words the report uses, in one sentence each."""

WORDS = (
    ("Advisory", "A criterion that is shown and never decides."),
    ("Candidate", "The model, prompt or setting that wants to take over from production."),
    (
        "Clusters",
        "Independent groups of requests: all requests of one conversation, or of one user, count as one group.",
    ),
    ("Comparable", "Both production and the candidate completed the request, so there are two answers to compare."),
    (
        "Conclusive",
        "The whole interval lies on one side of the threshold, so chance is no longer a likely explanation.",
    ),
    ("Criterion", "A go/no-go rule: a metric, a threshold and the side of it that passes."),
    (
        "Dropped, skipped, failed",
        "Not asked because of overload; not asked by policy or budget; asked, and the arm's own error.",
    ),
    ("Exchange", "One recorded production request with what production answered."),
    (
        "Flip",
        "A judge that prefers one answer in one order and the other answer in the other order: it looked at places.",
    ),
    ("First-slot share", "How often the answer shown first was preferred; 50% is unbiased."),
    (
        "GO, NO_GO, INCONCLUSIVE",
        "Every required criterion passes; at least one fails; neither can be said with the data at hand.",
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
        "Noise floor",
        "What production does to itself when asked the same again; a candidate cannot be expected to be closer "
        "than that.",
    ),
    ("P50, P95, P99", "The time within which 50, 95 or 99 of 100 requests were answered."),
    ("Pair", "Production's and one candidate's answer to the same request."),
    ("Points (pp)", "Percentage points: the difference of two shares."),
    ("Production", "The model that serves users today."),
    ("Replica", "Production asked a second time on a share of the requests."),
    ("Time to first token", "How long a user waits before the answer begins."),
    (
        "Unscored",
        "A judge gave no usable answer for the pair; it is counted apart, never as a tie and never as a zero.",
    ),
)
