"""Every pair as one row of numbers, for people who want to compute something of their own."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from harness.pipeline.evaluation import ArmEvaluation
from harness.stats.evidence import ArmColumns, Evidence

if TYPE_CHECKING:
    import pandas as pd

FILE = "pairs.parquet"


def pairs_table(evaluations: Sequence[ArmEvaluation]) -> "pd.DataFrame":
    """One row per sampled exchange and arm, the replica included; no text.

    Columns: ``arm``, ``exchange_id``, ``cluster`` (rows of one conversation share it), ``timestamp`` (UTC); for
    ``production_`` and ``candidate_`` each: status, error_kind, latency_ms, ttft_ms, tokens_in, tokens_out, cost_usd,
    answer_chars, cache_hit; ``score_<judge>``, averaged over orders; ``slice_<attribute>``. Unknown is null.
    """
    import pandas as pd

    frames = [_frame(item.evidence) for item in evaluations]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def write_table(evaluations: Sequence[ArmEvaluation], folder: Path) -> Path:
    """Write the table beside the report; a reader never sees a half-written file."""
    path = folder / FILE
    scratch = path.with_name(f".{FILE}.tmp")
    pairs_table(evaluations).to_parquet(scratch, index=False)
    scratch.replace(path)
    return path


def _frame(evidence: Evidence) -> "pd.DataFrame":
    import pandas as pd

    columns: dict[str, object] = {
        "arm": evidence.arm,
        "exchange_id": evidence.exchange_ids.astype(str),
        "cluster": evidence.clusters,
        "timestamp": pd.to_datetime(evidence.timestamps, unit="s", utc=True),
    }
    for side, arm in (("production", evidence.production), ("candidate", evidence.candidate)):
        columns |= {f"{side}_{field.name}": _column(arm, field.name) for field in fields(ArmColumns)}
    columns |= {f"score_{judge}": score.value for judge, score in evidence.scores.items()}
    columns |= {f"slice_{name}": _known(values.tolist()) for name, values in evidence.attributes.items()}
    return pd.DataFrame(columns, index=range(evidence.n))


def _column(arm: ArmColumns, name: str) -> object:
    values = getattr(arm, name)
    return _known(values.tolist()) if values.dtype == object else values


def _known(values: Sequence[str]) -> list[str | None]:
    return [value or None for value in values]
