"""How often decisions are wrong, by simulation with the product's own code.

    python -m tests.benchmarks.bench_decisions [--reps 200] [--quick] [--workers N]

Traffic is simulated (``worlds.py``) and looked at every 500 requests up to 10,000, as a running experiment would be.
Eight tables, in Markdown, and one line for each promise; the exit code is 1 when one is broken by more than two
standard errors of the simulation. Those are about 1.5 points at 5 % and 3.5 at 50 % with 200 repetitions; some tables
take more. The seed is fixed, so that the tables are the same on every machine, whatever the number of workers.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing import Pool
from typing import Any, TypeAlias

import numpy as np

from harness.domain.decision import Verdict
from harness.stats import multiplicity
from tests.benchmarks import bounds, families
from tests.benchmarks.gates import ALPHA, Course, Summary, Trial, follow
from tests.benchmarks.worlds import World

SEED = 20
Run: TypeAlias = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""Applies a function to every job, in order."""
Promise: TypeAlias = tuple[str, bool, str]

_ALL = {"ratio": 1.2, "win": 0.48, "errors": 0.015, "similarity": -0.01}
TRUTHS = {
    "identical": World(),
    "identical, replica on 10%": World(share=0.1),
    "win rate 53%": World(win=0.53),
    "win rate 53%, errors 0.8%": World(win=0.53, errors=0.008),
    "P95 1.15x": World(ratio=1.15),
    "P95 1.25x": World(ratio=1.25),
    "P95 1.4x": World(ratio=1.4),
    "win rate 45%": World(win=0.45),
    "errors 3%": World(errors=0.03),
    "win rate at its margin, 48%": World(win=_ALL["win"]),
    "errors at their margin, +0.5 points": World(errors=_ALL["errors"]),
    "P95 at its margin, 1.2x": World(ratio=_ALL["ratio"]),
    "similarity at its margin, -0.01": World(similarity=_ALL["similarity"]),
    "the same, replica on 10%": World(similarity=_ALL["similarity"], share=0.1),
    "all four at their margins": World(**_ALL),
}
MARGINS = tuple(TRUTHS)[-6:]
STRICT = {
    name: World(base_similarity=0.97, **fields)
    for name, fields in {
        "identical": {},
        "win rate 53%": {"win": 0.53},
        "win rate 53%, errors 0.8%": {"win": 0.53, "errors": 0.008},
        "win rate 55%, errors 0.5%": {"win": 0.55, "errors": 0.005},
        "P95 1.25x": {"ratio": 1.25},
        "win rate 45%": {"win": 0.45},
    }.items()
}


def trials(worlds: dict[str, World], reps: int, *, run: Run, **fields: Any) -> dict[str, Summary]:
    """Many trials of every world; the same repetition has the same chance in all of them."""
    jobs = [Trial(world=world, seed=(SEED, rep), **fields) for world in worlds.values() for rep in range(reps)]
    found: list[Course] = run(follow, jobs)
    return {name: Summary(courses=found[i * reps : (i + 1) * reps]) for i, name in enumerate(worlds)}


def gate_table(found: dict[str, Summary]) -> Iterable[Sequence[str]]:
    """A row per truth: ours, and beside it what others would have said of the same evidence."""
    yield ("truth", "GO", "NO_GO", "INCONCLUSIVE", "median n", "what binds", "naive, 1,000", "naive, end",
           "naive, ever", "one-look bounds, ever")  # fmt: skip
    for name, summary in found.items():
        yield (
            name,
            *(_share(summary.share(verdict)) for verdict in (Verdict.GO, Verdict.NO_GO, Verdict.INCONCLUSIVE)),
            _count(summary.median_n),
            summary.binding,
            *(_share(summary.rate(x)) for x in ("naive_first", "naive_last", "naive_ever", "peeked_ever")),
        )


def gate_promises(found: dict[str, Summary]) -> Iterable[Promise]:
    """No candidate at a margin goes more often than alpha; one that is beyond it never does."""
    for name in MARGINS:
        share, reps = found[name].share(Verdict.GO), len(found[name].courses)
        yield f"false GO, {name}: at most 5%", _at_most(share, reps), _with_error(share, reps)
    share = found["P95 1.25x"].share(Verdict.GO)
    yield "P95 1.25x never goes", share == 0, _with_error(share, len(found["P95 1.25x"].courses))


def wrong_table(reps: int, *, run: Run) -> tuple[list[Sequence[str]], list[Promise]]:
    """How often a criterion exactly at its margin is ever said to pass."""
    jobs = [(name, (SEED, 3, rep)) for name in bounds.CASES for rep in range(reps)]
    found = run(bounds.wrongly_passed, jobs)
    rows: list[Sequence[str]] = [("criterion at its margin", *(f"{kind}, {often}" for often in ("every 500", "every 50")
                                  for kind in ("ours", "one-look bounds", "point estimate")))]  # fmt: skip
    promises: list[Promise] = []
    for i, name in enumerate(bounds.CASES):
        own = found[i * reps : (i + 1) * reps]
        grids = [[getattr(pair[grid], kind) for pair in own] for grid in (0, 1) for kind in ("ours", "fixed", "point")]
        shares = [float(np.mean(grid)) for grid in grids]
        rows.append((name, *(_share(share) for share in shares)))
        promises.append((f"never wrong at any look, {name}: at most 5%", _at_most(shares[3], reps),
                         _with_error(shares[3], reps)))  # fmt: skip
    return rows, promises


def clustered_table(reps: int, *, run: Run) -> tuple[list[Sequence[str]], list[Promise]]:
    """What conversations do to the level, counted and ignored."""
    jobs = [(name, (SEED, 4, rep)) for name in bounds.CLUSTERED for rep in range(reps)]
    found = run(bounds.clustered, jobs)
    rows: list[Sequence[str]] = [("criterion at its margin", "clusters", "ever said to pass", "95% interval covers")]
    promises: list[Promise] = []
    for i, name in enumerate(bounds.CLUSTERED):
        for which, title in enumerate(("conversations", "ignored")):
            own = [pair[which] for pair in found[i * reps : (i + 1) * reps]]
            ever, covered = (float(np.mean([getattr(x, field) for x in own])) for field in ("ever", "covered"))
            rows.append((name, title, _share(ever), _share(covered)))
            if not which:
                promises.append((f"conversations keep their level, {name}: at most 5%", _at_most(ever, reps),
                                 _with_error(ever, reps)))  # fmt: skip
    return rows, promises


def sample_table(reps: int, *, run: Run) -> list[Sequence[str]]:
    """Pairs until a win rate above one half is seen to be."""
    jobs = [(delta, (SEED, 5, rep)) for delta in bounds.DELTAS for rep in range(reps)]
    found = run(bounds.sample_used, jobs)
    rows: list[Sequence[str]] = [("win rate", "one look, planned for 80% / 90%", "any look: median n", "mean n",
                                  "stops by 10,000", "saved", "5 planned looks: power", "mean n",
                                  "14 planned looks: power", "mean n")]  # fmt: skip
    for i, delta in enumerate(bounds.DELTAS):
        own = found[i * reps : (i + 1) * reps]
        used = {field: [getattr(x, field) for x in own] for field in ("any_look", "five_looks", "fourteen_looks")}
        stops = {field: float(np.mean([n is not None for n in ns])) for field, ns in used.items()}
        mean = {field: float(np.mean([n or bounds.LAST for n in ns])) for field, ns in used.items()}
        rows.append((
            f"{0.5 + delta:.1%}", " / ".join(_count(bounds.fixed_n(delta, power=power)) for power in (0.8, 0.9)),
            _count(bounds.middle(used["any_look"])), _count(mean["any_look"]), _share(stops["any_look"]),
            _share(1 - mean["any_look"] / bounds.LAST), _share(stops["five_looks"]), _count(mean["five_looks"]),
            _share(stops["fourteen_looks"]), _count(mean["fourteen_looks"]),
        ))  # fmt: skip
    return rows


def slice_table(reps: int, *, run: Run) -> list[Sequence[str]]:
    """One bad slice among twenty: found, and how often a good one is accused."""
    found = run(families.sliced, [(SEED, 6, rep) for rep in range(reps)])
    rows: list[Sequence[str]] = [("correction", "found, one look", "any false alarm, one look", "found, 7 looks",
                                  "any false alarm, 7 looks")]  # fmt: skip
    for name in families.CORRECTIONS:
        own = [by_name[name] for by_name in found]
        rows.append((name, *(_share(float(np.mean([getattr(x, field) for x in own])))
                             for field in ("found", "alarm", "ever_found", "ever_alarm"))))  # fmt: skip
    return rows


def retry_table(reps: int, *, run: Run) -> tuple[list[Sequence[str]], list[Promise]]:
    """A candidate at the margin of the win rate, tried again with fresh data until it goes."""
    found = run(families.retried, [(SEED, 7, rep) for rep in range(reps)])
    rows: list[Sequence[str]] = [("attempts", "ever GO, alpha 5% each time", "ever GO, alpha of the ledger")]
    shares = {}
    for attempts in (1, 2, 5, families.ATTEMPTS):
        shares[attempts] = [
            float(np.mean([any(getattr(x, field)[:attempts]) for x in found])) for field in ("plain", "ledger")
        ]
        rows.append((str(attempts), *(_share(share) for share in shares[attempts])))
    last = shares[families.ATTEMPTS][1]
    return rows, [("ever GO in ten attempts at the margin: at most 5%", _at_most(last, reps), _with_error(last, reps))]


def attempt_table(reps: int, *, run: Run) -> tuple[list[Sequence[str]], list[Promise]]:
    """The identical candidate at all of alpha, and at what a first attempt of many gets."""
    rows: list[Sequence[str]] = [("alpha", "GO", "NO_GO", "INCONCLUSIVE", "median n")]
    promises: list[Promise] = []
    for alpha in (ALPHA, multiplicity.spent(1, alpha=ALPHA)):
        found = trials({"identical": World()}, reps, run=run, alpha=alpha, beside=False)["identical"]
        go, n = found.share(Verdict.GO), found.median_n or 0.0
        rows.append((f"{alpha:.2%}", *(_share(found.share(verdict)) for verdict in Verdict), _count(n)))
        if alpha == ALPHA:
            promises.append(("identical candidate: GO in at least 95%", _at_most(1 - go, reps), _with_error(go, reps)))
            promises.append(("identical candidate: median n below 5,500", 0 < n < 5500, _count(n)))
    return rows, promises


def report(reps: int, *, run: Run, say: Callable[[str], None] = print) -> bool:
    """All tables; whether every promise was kept."""
    promises: list[Promise] = []

    def table(title: str, rows: Iterable[Sequence[str]]) -> None:
        header, *body = rows
        lines = [header, ["---"] * len(header), *body]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        say(f"\n### {title}\n\n{text}")

    def kept(title: str, both: tuple[list[Sequence[str]], list[Promise]]) -> None:
        table(title, both[0])
        promises.extend(both[1])

    found = trials(TRUTHS, reps, run=run)
    table("1. Gates, non-inferiority profile", gate_table(found))
    promises.extend(gate_promises(found))
    strict = trials(STRICT, max(reps // 2, 1), run=run, profile="superiority", last=12_000)
    table("2. Gates, superiority profile, up to 12,000 requests", gate_table(strict))
    kept("3. Bounds of single criteria", wrong_table(reps, run=run))
    kept("4. Conversations of five", clustered_table(reps * 2, run=run))
    table("5. Pairs used", sample_table(reps * 3 // 2, run=run))
    table("6. Slices", slice_table(reps, run=run))
    kept("7. Trying again", retry_table(reps, run=run))
    kept("8. The first of many attempts", attempt_table(reps * 2, run=run))
    say("\n### Promises\n")
    for text, held, value in promises:
        say(f"- {'PASS' if held else 'FAIL'}: {text} ({value})")
    return all(held for _, held, _ in promises)


def _share(share: float) -> str:
    return f"{share:.1%}"


def _count(n: float | None) -> str:
    return "never" if n is None else f"{n:,.0f}"


def _at_most(share: float, reps: int) -> bool:
    """Whether a chance of alpha explains the share within two standard errors."""
    return share <= ALPHA + 2 * float(np.sqrt(ALPHA * (1 - ALPHA) / reps))


def _with_error(share: float, reps: int) -> str:
    """With its Monte-Carlo standard error; where nothing was seen, what 95 % confidence cannot exclude."""
    if share in {0.0, 1.0}:
        return f"{share:.1%}, {1 - 0.05 ** (1 / reps):.1%} not excluded"
    return f"{share:.1%}, standard error {np.sqrt(share * (1 - share) / reps):.1%}"


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=200, help="repetitions of a gate; other tables take multiples")
    parser.add_argument("--quick", action="store_true", help="20 repetitions, to see the shape of the tables")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    reps, begin = 20 if args.quick else args.reps, time.perf_counter()
    with Pool(args.workers) as pool:

        def run(task: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
            return list(pool.imap(task, jobs, chunksize=2))

        held = report(reps, run=run, say=partial(print, flush=True))
        pool.close()
        pool.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    elapsed, cpu = time.perf_counter() - begin, used.ru_utime + used.ru_stime
    print(f"\n{reps} repetitions: {elapsed:,.0f} s on {args.workers} processes, {cpu:,.0f} s of CPU")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
