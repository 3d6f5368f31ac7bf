"""Options of `harness judges evaluate`: where what stands in a labelled set, and which judges are held against it."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

_Several: TypeAlias = list[str] | None


def _option(*names: str, help: str, envvar: str, minimum: float | None = None) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(*names, help=help, envvar=f"HARNESS_{envvar}", min=minimum)
    return found


Dataset: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="Labelled pairs: JSON lines, a JSON list, CSV or Parquet, plain, gzip or zstd.", envvar="HARNESS_DATASET"
    ),
]

# Judges

Models: TypeAlias = Annotated[
    _Several,
    _option(
        "--model", "-m", help="Model to try as a pairwise judge, MODEL or MODEL@API_BASE; repeatable.", envvar="MODELS"
    ),
]
Modes: TypeAlias = Annotated[
    _Several,
    _option("--mode", help="How to ask --model: plain, structured or soft; repeatable, default all.", envvar="MODES"),
]
ExperimentFile: TypeAlias = Annotated[
    Path | None, _option("--experiment", help="Try the judges of this experiment file.", envvar="EXPERIMENT")
]
Verdicts: TypeAlias = Annotated[
    _Several,
    _option("--verdict", help="Column with a judge's recorded verdicts, one per pair; repeatable.", envvar="VERDICT"),
]
VerdictsFirst: TypeAlias = Annotated[
    _Several,
    _option(
        "--verdict-first",
        help="Column with a judge's recorded verdicts when answer 1 was shown first; repeatable.",
        envvar="VERDICT_FIRST",
    ),
]
VerdictsSecond: TypeAlias = Annotated[
    _Several,
    _option(
        "--verdict-second", help="Column with the same judge's when answer 2 was shown first.", envvar="VERDICT_SECOND"
    ),
]

# Columns and words

Prompt: TypeAlias = Annotated[
    _Several,
    _option(
        "--prompt",
        help="Column with the request; several are put together. Default: prompt, instruction with input, or question.",
        envvar="PROMPT",
    ),
]
Answer1: TypeAlias = Annotated[
    str | None,
    _option("--answer-1", help="Column with answer 1. Default: output_1, response1, answer_a, ...", envvar="ANSWER_1"),
]
Answer2: TypeAlias = Annotated[str | None, _option("--answer-2", help="Column with answer 2.", envvar="ANSWER_2")]
PeopleLabels: TypeAlias = Annotated[
    _Several,
    _option(
        "--label",
        help="Column with a person's label; of several the majority counts. Default: label, preference, winner, or "
        "annotator1, annotator2, ...",
        envvar="LABEL",
    ),
]
First: TypeAlias = Annotated[
    _Several, _option("--first", help="Word for answer 1, in labels and verdicts. Default: 1.", envvar="FIRST")
]
Second: TypeAlias = Annotated[_Several, _option("--second", help="Word for answer 2. Default: 2.", envvar="SECOND")]
Tie: TypeAlias = Annotated[_Several, _option("--tie", help="Word for a tie. Default: 0 and tie.", envvar="TIE")]
Join: TypeAlias = Annotated[
    _Several, _option("--join", help="File with further columns of the same pairs; repeatable.", envvar="JOIN")
]
Key: TypeAlias = Annotated[str | None, _option("--key", help="Column that joined files share.", envvar="KEY")]

# How

Sample: TypeAlias = Annotated[
    int | None,
    _option("--sample", help="Use this many pairs, drawn at random; a larger sample keeps them.", envvar="SAMPLE",
            minimum=1),
]  # fmt: skip
Seed: TypeAlias = Annotated[int, _option("--seed", help="Seed of the sample.", envvar="SEED")]
Unscored: TypeAlias = Annotated[
    str,
    _option("--unscored", help="What a pair without a verdict counts as: wrong, left-out or tie.", envvar="UNSCORED"),
]
Budget: TypeAlias = Annotated[
    float | None, _option("--budget-usd", help="Spend at most this.", envvar="BUDGET_USD", minimum=0)
]
Price: TypeAlias = Annotated[
    str | None,
    _option(
        "--price",
        help="Price of --model in dollars per million tokens, read/written, such as 0.15/0.6.",
        envvar="PRICE",
    ),
]
MaxTokens: TypeAlias = Annotated[
    int | None, _option("--max-tokens", help="Room for a reply in words.", envvar="MAX_TOKENS", minimum=16)
]
PromptFile: TypeAlias = Annotated[
    Path | None, _option("--prompt-file", help="Judge prompt of your own for --model.", envvar="PROMPT_FILE")
]
Concurrency: TypeAlias = Annotated[
    int, _option("--concurrency", help="Calls in flight.", envvar="CONCURRENCY", minimum=1)
]
Deadline: TypeAlias = Annotated[
    float, _option("--deadline-s", help="Seconds one call may take.", envvar="DEADLINE_S", minimum=1)
]
Output: TypeAlias = Annotated[
    Path | None, _option("--output", help="Write every judgment to this file, as JSON lines.", envvar="OUTPUT")
]
