"""Every pair's words in one file beside the report, for people who want to read more than a page can hold."""

import os
from collections.abc import Sequence
from pathlib import Path

from harness.pipeline.evaluation import ArmEvaluation
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session

FILE = "pairs.jsonl.zst"
_LEVEL = 1
"""A faster one than the default: the file is about as large, and is written at every report."""


def write_texts(
    session: Session, judges: Sequence[SeatedJudge], evaluations: Sequence[ArmEvaluation], folder: Path
) -> Path | None:
    """Write the file, and return where; ``None``, and no file, when the report may show no text.

    One line per sampled exchange and arm that was asked, the replica included: ``exchange_id``, ``arm``, ``status``,
    ``error_kind``, ``request`` (messages, tools, params, tags, metadata), ``production`` and ``candidate`` (each with
    ``completion``, or ``error_message``), ``judgments`` (judge, order, state, reason, value, label, and under ``said`` the
    judge's explanation and reply). Memory does not grow with the number of pairs; a reader never sees a part of it.
    """
    import zstandard

    path = folder / FILE
    if not session.experiment.report.show_text:
        path.unlink(missing_ok=True)
        return None
    scratch = path.with_name(f".{FILE}.tmp")
    names = {judge.fingerprint: judge.name for judge in judges}
    with scratch.open("wb") as file, zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False) as writer:
        for item in evaluations:
            arm = item.arm
            for line in session.store.pair_texts(session.run_id, arm.name, arm.fingerprint, judges=names):
                writer.write(line)
                writer.write(b"\n")
    os.replace(scratch, path)
    return path
