"""How early a run on recorded answers may stop, and whether it stops on the decision the whole sample gives.

Reads annotation files as AlpacaEval publishes them (a JSON list, plain or gzip, with `preference` from 1, the first
answer is better, to 2, and `price_per_example`): the first answer is production's, the second the candidate's. Each is
put in many random orders; every `--look-every` pairs the product's own rule decides, and the run stops where the
product would. `make bench-early-stop DATA="FILE ..."` prints one row per file and margin.
"""

import argparse
import gzip
import json
import math
from collections import Counter
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from harness.decision.prospects import prospects
from harness.decision.reaching import Rulebook, reach
from harness.domain.decision import Bound, Criterion, Terms, Verdict
from harness.domain.metrics import WIN_RATE
from harness.stats.evidence import ArmColumns, Evidence, ScoreColumn


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The candidate's share of the preference, and what the verdict cost, by pair."""
    data = path.read_bytes()
    rows = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    scores, prices = [], []
    for row in rows:
        preference = row["preference"]
        if preference is None:
            scores.append(math.nan)
        else:
            scores.append(0.5 if preference in {0, 1.5} else float(preference) - 1)
        prices.append(row.get("price_per_example") or 0.0)
    return np.array(scores), np.array(prices)


def evidence(scores: np.ndarray) -> Evidence:
    n = len(scores)
    unknown, completed = np.full(n, np.nan), np.full(n, "completed", dtype=object)
    arm = ArmColumns(
        status=completed,
        error_kind=np.full(n, "", dtype=object),
        latency_ms=unknown,
        ttft_ms=unknown,
        tokens_in=unknown,
        tokens_out=unknown,
        cost_usd=unknown,
        answer_chars=unknown,
        cache_hit=np.zeros(n, dtype=bool),
    )
    return Evidence(
        arm="candidate",
        exchange_ids=np.arange(n).astype(str).astype(object),
        clusters=np.arange(n),
        timestamps=unknown,
        production=arm,
        candidate=arm,
        scores={"recorded": ScoreColumn.unordered(WIN_RATE.name, scores)},
    )


def rulebook(margin: float, horizon: int, alpha: float) -> Rulebook:
    return Rulebook(
        criteria=(Criterion(metric=WIN_RATE.name, bound=Bound.ABOVE, threshold=margin),),
        terms=Terms(profile="own criteria", looks="any", alpha=alpha, horizon=horizon),
        judge_metrics={"recorded": WIN_RATE},
    )


def one_order(job: tuple[np.ndarray, float, int, float, int]) -> tuple[str, int, np.ndarray]:
    """Verdict, pairs used, and which pairs they were."""
    scores, margin, look_every, alpha, seed = job
    order = np.random.default_rng(seed).permutation(len(scores))
    rules = rulebook(margin, len(scores), alpha)
    for n in (*range(look_every, len(scores), look_every), len(scores)):
        decision = reach(evidence(scores[order[:n]]), rules).decision
        if decision.verdict is not Verdict.INCONCLUSIVE or n == len(scores):
            return decision.verdict.value, n, order[:n]
        if not prospects(decision, n_now=n, n_most=len(scores)).open:
            return f"{decision.verdict.value} (out of reach)", n, order[:n]
    raise AssertionError("the last look always ends")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--margin", type=float, action="append", help="win rate to be above; 0.48 when not given")
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--look-every", type=int, default=50)
    parser.add_argument("--alpha", type=float, default=0.05)
    options = parser.parse_args()
    print(f"{options.orders} random orders, a look every {options.look_every} pairs, alpha {options.alpha}")
    print(f"{'annotations':<58}{'above':>7}{'pairs':>7}{'win rate':>10}  {'whole sample':<14}{'used (median, 90%)':>20}"
          f"{'saved':>20}  decisions")  # fmt: skip
    with Pool() as pool:
        for file in options.files:
            scores, prices = read(file)
            for margin in options.margin or [0.48]:
                whole = reach(evidence(scores), rulebook(margin, len(scores), options.alpha)).decision
                jobs = [(scores, margin, options.look_every, options.alpha, seed) for seed in range(options.orders)]
                found = pool.map(one_order, jobs, chunksize=8)
                used = np.array([n for _, n, _ in found])
                saved = np.array([prices.sum() - prices[order].sum() for _, _, order in found])
                counts = Counter(verdict for verdict, _, _ in found)
                name = "/".join(file.parts[-3:-1])[-56:]
                print(
                    f"{name:<58}{margin:>7g}{len(scores):>7}{np.nanmean(scores):>10.4f}  {whole.verdict.value:<14}"
                    f"{f'{np.median(used):.0f}, {np.quantile(used, 0.9):.0f}':>20}"
                    f"{f'${np.mean(saved):.2f} of ${prices.sum():.2f}':>20}  "
                    + ", ".join(f"{verdict} {n}" for verdict, n in counts.most_common())
                )


if __name__ == "__main__":
    main()
