"""Seconds, memory and size of a report of many pairs, and how fast a browser opens it.

    python tests/benchmarks/bench_report.py [--pairs 1000000] [--folder DIR] [--keep] [--chromium-opens 5]

Generates traffic of its own straight into a SQLite store: every pair has another request and other answers (prose,
Markdown, JSON or tool calls), two readings by a preference judge, a similarity and an exact match; one in a hundred
candidates fails, one in twenty answers is the same. Then runs ``harness report`` on it in a process of its own, and
opens the page in Chromium. A million pairs need about 5 GB on disk, deleted afterwards; with ``--folder`` and
``--keep`` they are made once. Targets: below 60 s, 1.5 GB, 3 MB and 1 s.
"""

import argparse
import hashlib
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from harness.config import Experiment  # noqa: E402
from harness.domain.run import IngestReport, Run, Stage, Summary  # noqa: E402
from harness.pipeline.arms import arms_of  # noqa: E402
from harness.pipeline.seats import default_embedder, seat_judges  # noqa: E402
from harness.store import Store, bodies, tables  # noqa: E402

RUN = "bench"
BATCH = 20_000
START = datetime(2026, 9, 1, tzinfo=UTC)
SUBJECTS = (
    "the invoice of March",
    "a second seat",
    "the export to CSV",
    "single sign-on",
    "the mobile app",
    "an API key",
    "the trial period",
    "a deleted project",
    "time zones",
    "the audit log",
)
VERBS = ("change", "cancel", "explain", "move", "restore", "share", "limit", "check", "rename", "import")
ENDINGS = (
    "It takes effect at once.",
    "This may take up to ten minutes.",
    "You will get a mail when it is done.",
    "Nobody else can see it.",
    "Nothing else changes.",
)
EXPERIMENT: dict[str, Any] = {
    "name": "bench",
    "traffic": {"source": ["traffic.jsonl"], "requests_per_month": 1_000_000},
    "candidates": [{"name": "small", "model": "openai/gpt-4.1-mini"}],
    "judges": [
        {"use": "pairwise", "options": {"model": "anthropic/claude-sonnet-4-5"}},
        {"use": "similarity"},
        {"use": "exact"},
    ],
    "report": {"slices": ["model", "has_tools", "turns", "language", "metadata.plan", "tag"]},
}
LIMITS = {"seconds": 60.0, "gigabytes": 1.5, "megabytes": 3.0, "milliseconds": 1000.0}


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What rendering took."""

    seconds: float
    cpu_seconds: float
    """Of all its processes; on a machine that does something else too, the figure to compare."""
    gigabytes: float
    """Peak resident memory of the process and of its largest helper, together."""
    files: dict[str, int]
    """Bytes by file."""


def generate(folder: Path, pairs: int) -> None:
    """A store with one decided run of that many pairs."""
    experiment = Experiment.model_validate(EXPERIMENT)
    url = f"sqlite:///{folder / 'harness.db'}"
    with Store.open(url) as store:
        store.save_run(
            Run(
                id=RUN,
                name="bench",
                created_at=START,
                updated_at=START,
                stage=Stage.DECIDED,
                seed=1,
                ingest_fingerprint=experiment.ingest_fingerprint,
                experiment=experiment.model_dump(mode="json"),
            )
        )
        models = {"gpt-4o": pairs}
        last = START + timedelta(days=30)
        summary = Summary(n=pairs, models=models, first=START, last=last, mean_prompt_chars=210.0)
        store.save_ingest_report(
            RUN,
            IngestReport(
                files=("traffic.jsonl",), read=pairs, kept=pairs, sampled=pairs, sample=summary, population=summary
            ),
        )
    # Faster than the store's own way in, which is made for answers that arrive one by one: sorted by key, no upsert.
    connection = sqlite3.connect(folder / "harness.db", isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000", "locking_mode=EXCLUSIVE"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")
    for found in _batches(experiment, pairs):
        for name, written in found.items():
            columns = [column.name for column in tables.metadata.tables[name].columns if column.name in written[0]]
            marks = ", ".join(f":{column}" for column in columns)
            connection.executemany(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})", written)  # noqa: S608
    connection.execute("COMMIT")
    connection.close()
    sqlite3.connect(folder / "harness.db").execute("PRAGMA journal_mode=WAL").connection.close()


def _batches(experiment: Experiment, pairs: int) -> Iterator[dict[str, list[dict[str, Any]]]]:
    draw = random.Random(7)
    [arm] = arms_of(experiment)
    seats = {seat.name: seat.fingerprint for seat in seat_judges(experiment, default_embedder())}
    ids = sorted(hashlib.blake2b(str(number).encode(), digest_size=9).hexdigest() for number in range(pairs))
    for begin in range(0, pairs, BATCH):
        found: dict[str, list[dict[str, Any]]] = {}
        for number, exchange_id in enumerate(ids[begin : begin + BATCH], start=begin):
            for name, row in _pair(draw, number, exchange_id, arm.name, arm.fingerprint, seats):
                found.setdefault(name, []).append(row)
        yield found


def _answer(draw: random.Random, kind: int, subject: str, number: int) -> tuple[str | None, list[dict[str, Any]]]:
    ending = draw.choice(ENDINGS)
    if kind == 0:
        text = (
            f"## How to do it\n\n1. Open **Settings**.\n2. Choose *{subject}* (number `{number}`).\n\n{ending}\n\n"
            f"| step | minutes |\n|---|---|\n| one | {draw.randint(1, 9)} |\n"
        )
        return text, []
    if kind == 1:
        return (
            f'{{"subject": "{subject}", "number": {number}, "steps": [{draw.randint(1, 5)}, 2], "note": "{ending}"}}',
            [],
        )
    if kind == 2:
        return None, [
            {
                "name": "look_up",
                "arguments": {"subject": subject, "number": number, "depth": draw.randint(1, 3)},
                "id": "t",
            }
        ]
    return f"Of course. Open the settings, look for {subject} and confirm number {number}. {ending} " * draw.randint(
        1, 3
    ), []


def _pair(
    draw: random.Random, number: int, exchange_id: str, arm: str, fingerprint: str, seats: dict[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    subject, kind = draw.choice(SUBJECTS), draw.choice((0, 1, 2, 3, 3, 3, 3, 3))
    plan, language, tag = (
        draw.choice(("free", "team", "enterprise")),
        draw.choice(("en", "en", "de", "fr")),
        f"area-{number % 20}",
    )
    key = {"run_id": RUN, "exchange_id": exchange_id}
    at = (START + timedelta(seconds=number % 2_592_000)).strftime("%Y-%m-%d %H:%M:%S.000000")
    asked = f"How can I {draw.choice(VERBS)} {subject}? It is about number {number}, and I have tried it twice."
    body = bodies.encode(
        {
            "messages": [
                {"role": "system", "content": "You are a support assistant."},
                {"role": "user", "content": asked},
            ],
            "tools": [],
            "params": {"temperature": 0.2},
            "tags": [tag],
            "metadata": {"plan": plan},
        }
    )
    session = f"s{number // 3}"
    yield (
        "exchanges",
        key
        | {
            "position": draw.random(),
            "session": session,
            "user_id": None,
            "cluster": f"session:{session}",
            "model": "gpt-4o",
            "timestamp": at,
            "n_messages": 2,
            "n_turns": 1,
            "has_tools": kind == 2,
            "prompt_chars": len(asked),
            "source_file": "traffic.jsonl",
            "source_line": number,
            "source_sha256": None,
            "body_bytes": len(body),
        },
    )
    yield "exchange_bodies", key | {"body": body}
    slices = {
        "model": "gpt-4o",
        "has_tools": "yes" if kind == 2 else "no",
        "turns": "1",
        "language": language,
        "metadata.plan": plan,
        "tag": tag,
    }
    for name, value in slices.items():
        yield "exchange_attributes", key | {"key": name, "value": value}
    production, same = _answer(draw, kind, subject, number), draw.random() < 0.05
    candidate = production if same else _answer(draw, kind, subject, number)
    failed = draw.random() < 0.01
    yield from _observation(draw, key, "production", "", at, production, failed=False)
    yield from _observation(draw, key, arm, fingerprint, at, candidate, failed=failed)
    if failed:
        return
    better = 1.0 if same else draw.choice((0.0, 0.5, 0.5, 1.0))
    for order in ("production_first", "candidate_first"):
        read = 0.5 if same or draw.random() >= 0.9 else better
        yield from _judgment(draw, key, arm, fingerprint, seats, "pairwise", order, read)
    yield from _judgment(
        draw, key, arm, fingerprint, seats, "similarity", "none", 1.0 if same else 0.5 + draw.random() / 2
    )
    yield from _judgment(draw, key, arm, fingerprint, seats, "exact", "none", float(same))


def _observation(
    draw: random.Random, key: dict[str, Any], arm: str, fingerprint: str, at: str, answer: Any, *, failed: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    text, calls = answer
    completion = {
        "text": text,
        "tool_calls": calls,
        "finish_reason": "stop",
        "model": arm,
        "refusal": None,
        "n_choices": 1,
        "original_chars": None,
    }
    body = bodies.encode({"error_message": "30 s elapsed"} if failed else {"completion": completion})
    latency = 30_000.0 if failed else draw.lognormvariate(6.6, 0.5)
    full = {"run_id": key["run_id"], "arm": arm, "fingerprint": fingerprint, "exchange_id": key["exchange_id"]}
    asked = arm != "production"
    yield (
        "observations",
        full
        | {
            "status": "failed" if failed else "completed",
            "reason": None,
            "error_kind": "timeout" if failed else None,
            "error_code": None,
            "error_message": None,
            "http_status": None,
            "latency_ms": latency,
            "ttft_ms": None if failed else latency / 3,
            "queue_ms": None,
            "retry_ms": None,
            "attempts": 1 if asked else None,
            "tokens_in": 60,
            "tokens_out": None if failed else 40,
            "tokens_cached": None,
            "tokens_reasoning": None,
            "cost_usd": 0.0001 if asked else 0.001,
            "cost_estimated": False,
            "superseded_usd": 0.0,
            "started_at": at,
            "cache_hit": False,
            "finish_reason": "stop",
            "answered_model": None if failed else arm,
            "answer_chars": len(text or ""),
            "n_tool_calls": len(calls),
            "dropped_params": None,
            "body_bytes": len(body),
            "recorded_at": at,
        },
    )
    yield "observation_bodies", full | {"body": body}


REASONS = [
    bodies.encode(
        {"explanation": f"Both name the place; answer {side} {what}.", "raw": f'{{"winner": "{side}"}}', "details": {}}
    )
    for side in ("A", "B")
    for what in (
        "says how long it takes",
        "is shorter and as complete",
        "leaves out the confirmation",
        "adds a step that is not needed",
    )
]
NO_REASON = bodies.encode({"explanation": None, "raw": None, "details": {}})


def _judgment(
    draw: random.Random,
    key: dict[str, Any],
    arm: str,
    fingerprint: str,
    seats: dict[str, str],
    judge: str,
    order: str,
    value: float,
) -> Iterator[tuple[str, dict[str, Any]]]:
    full = {
        "run_id": RUN,
        "arm": arm,
        "observation_fingerprint": fingerprint,
        "judge_fingerprint": seats[judge],
        "exchange_id": key["exchange_id"],
        "answer_order": order,
    }
    asked = judge == "pairwise"
    label = {0.0: "loss", 0.5: "tie", 1.0: "win"}[value] if asked else None
    yield (
        "judgments",
        full
        | {
            "judge": judge,
            "state": "scored",
            "reason": None,
            "value": value,
            "label": label,
            "model": "anthropic/claude-sonnet-4-5" if asked else None,
            "answered_model": None,
            "prompt_sha256": "9f" * 32 if asked else None,
            "parser": None,
            "tokens_in": 700 if asked else None,
            "tokens_out": 60 if asked else None,
            "cost_usd": 0.003 if asked else None,
            "superseded_usd": 0.0,
            "attempts": int(asked),
            "latency_ms": 900.0,
            "recorded_at": "2026-10-01 00:00:00.000000",
        },
    )
    yield "judgment_bodies", full | {"body": draw.choice(REASONS) if asked else NO_REASON}


def render(folder: Path, command: Sequence[str]) -> Rendered:
    """``harness report`` in a process of its own, with what the system says it used."""
    output = folder / "report"
    begin = time.perf_counter()
    process = subprocess.Popen(
        [
            *command,
            "report",
            RUN,
            "--store",
            f"sqlite:///{folder / 'harness.db'}",
            "--runs-dir",
            str(folder),
            "--output",
            str(output),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    peak, before = 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        # Looking is not free, and what it costs would be counted.
        time.sleep(0.1)
    seconds = time.perf_counter() - begin
    if process.returncode != 0:
        raise SystemExit(f"harness report ended with {process.returncode}")
    files = {path.name: path.stat().st_size for path in sorted(output.iterdir())}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return Rendered(seconds=seconds, cpu_seconds=cpu, gigabytes=peak / 1e9, files=files)


def _resident(pid: int) -> int:
    """Bytes of the process and its children that are in memory now; shared pages count once for each."""
    total = 0
    for each in [pid, *_children(pid)]:
        try:
            pages = int(Path(f"/proc/{each}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):  # it has just ended
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            own = [int(child) for child in task.read_text(encoding="ascii").split()]
        except OSError:
            continue
        found += [*own, *(further for child in own for further in _children(child))]
    return found


def opening(page_file: Path, times: int) -> float:
    """Median milliseconds from the navigation to the end of the load event, in a fresh tab each time."""
    from playwright.sync_api import sync_playwright

    from tests.browser.pages import ARGUMENTS, chromium

    took = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        for _ in range(times):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(page_file.as_uri(), wait_until="load")
            page.wait_for_function("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
            took.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
            page.close()
        browser.close()
    return float(median(took))


def main() -> int:
    """Parse the command line, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the store is, or is made; by default a new temporary one")
    parser.add_argument("--keep", action="store_true", help="leave store and report where they are")
    parser.add_argument("--only-generate", action="store_true")
    parser.add_argument("--chromium-opens", type=int, default=5)
    parser.add_argument("--python", default="", help="what to run Python with, such as a profiler and its options")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="bench-report-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not (folder / "harness.db").exists():
            begin = time.perf_counter()
            generate(folder, args.pairs)
            size = (folder / "harness.db").stat().st_size / 1e9
            print(f"generated {args.pairs:,} pairs in {time.perf_counter() - begin:.0f} s, {size:.1f} GB", flush=True)
        if args.only_generate:
            return 0
        rendered = render(folder, [sys.executable, *args.python.split(), "-m", "harness"])
        milliseconds = opening(folder / "report" / "report.html", args.chromium_opens)
    finally:
        if not args.keep:
            shutil.rmtree(folder)
    return _table(args.pairs, rendered, milliseconds)


def _table(pairs: int, rendered: Rendered, milliseconds: float) -> int:
    measured = {
        "seconds": rendered.seconds,
        "gigabytes": rendered.gigabytes,
        "megabytes": rendered.files["report.html"] / 1e6,
        "milliseconds": milliseconds,
    }
    titles = {
        "seconds": "`harness report`, s",
        "gigabytes": "peak resident memory, GB",
        "megabytes": "report.html, MB",
        "milliseconds": "opened in Chromium, ms",
    }
    print(f"\n| {pairs:,} pairs | measured | limit |\n|---|---:|---:|")
    for key, limit in LIMITS.items():
        print(f"| {titles[key]} | {measured[key]:,.2f} | {limit:,.1f} |")
    print(f"| CPU of all its processes, s | {rendered.cpu_seconds:,.2f} | |")
    print("\nBeside the page: " + ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in rendered.files.items()))
    missed = [titles[key] for key, limit in LIMITS.items() if measured[key] >= limit]
    print(f"missed: {', '.join(missed)}" if missed else "every limit kept")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
