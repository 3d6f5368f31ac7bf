"""How numbers and verdicts come about, for a reader of the page; docs/statistics.md has the formulas."""

PARAGRAPHS = (
    "Every number compares the two answers to the same request. Requests of one conversation, or of one user, count "
    "as one group, because they are not independent of each other; intervals are computed over groups, and the "
    "effective n says how many independent pairs would tell as much.",
    "A rule passes when the bound of its metric lies on the good side of the threshold, with the confidence that is "
    "printed beside it, and fails when the other bound lies on the wrong side. What anybody may look at while it "
    "grows has bounds that hold at any look: they are wider than those for a single look, and stopping at one of "
    "them makes no wrong GO likelier. With K required rules the bounds that fail are wider still, at a K-th of the "
    "chance: one of many rules fails by accident no more often than one alone. Figures that decide nothing have "
    "intervals for one look.",
    "GO needs every required rule to pass and nothing to speak against it; one failed rule is a NO_GO; anything "
    "else is INCONCLUSIVE, never rounded to GO. A rule that not even production meets when it is asked again is "
    "unattainable: the rule is wrong, not the candidate.",
    "Bounds that would decide do not count when the judge behind them failed a check of its health, when people put "
    "the win rate beyond the threshold that the judge sees it clear of, or when the win rate changes sides at equal "
    "length, unless labels decide in the judge's place. A judge whose bias on labelled pairs is told from none "
    "loses its own win rate: the one corrected by the labels decides, as it does from 1,000 labels on. Slices are "
    "tested all together, with the number of them taken into account; one that is flagged keeps a GO back.",
    "Trying until something passes would pass in the end. Attempts of one family of candidates therefore share "
    "alpha, and the j-th may spend 6 / (π² j²) of it, unless the experiment says otherwise.",
    "What the intervals do not cover: traffic that differs from this export, models that changed after their "
    "answers were recorded, load that differs from the load of this run, and what a judge and the people asked both "
    "get wrong.",
)
