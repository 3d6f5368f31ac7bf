"""`harness judges evaluate`: how far judges can be believed, on pairs that people have labelled."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.cli import labelled_options as on
from harness.cli import options
from harness.cli.compare import named_model
from harness.cli.output import err
from harness.cli.work import opened_session, run_until_stopped
from harness.errors import ConfigurationError, InfrastructureError

if TYPE_CHECKING:
    from harness.config import JudgeSection, Replay
    from harness.ingest.labelled import LabelledPair, LabelledSet, Words
    from harness.judging.scorecard import Unscored
    from harness.pipeline.trial import Judged, RecordedVerdicts

MODES = ("plain", "structured", "soft")
HELP = (
    "Hold judges against people's labels, on any labelled pairs: how often each is right, beside what a constant "
    "answer would reach, and what speaks against believing it.\n\n"
    "It measures and does not decide: the exit code is 0 whatever it finds. Columns are dotted names: "
    "`results.-1.winner` is the key `winner` of the last entry of the list `results`."
)


def evaluate(
    dataset: on.Dataset,
    model: on.Models = None,
    mode: on.Modes = None,
    experiment: on.ExperimentFile = None,
    verdict: on.Verdicts = None,
    verdict_first: on.VerdictsFirst = None,
    verdict_second: on.VerdictsSecond = None,
    prompt: on.Prompt = None,
    answer_1: on.Answer1 = None,
    answer_2: on.Answer2 = None,
    label: on.PeopleLabels = None,
    first: on.First = None,
    second: on.Second = None,
    tie: on.Tie = None,
    join: on.Join = None,
    key: on.Key = None,
    sample: on.Sample = None,
    seed: on.Seed = 0,
    unscored: on.Unscored = "wrong",
    budget_usd: on.Budget = None,
    price: on.Price = None,
    max_tokens: on.MaxTokens = None,
    prompt_file: on.PromptFile = None,
    concurrency: on.Concurrency = 8,
    deadline_s: on.Deadline = 120,
    output: on.Output = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Measure, print, and return 0."""
    from harness.cli.scorecards import print_cards
    from harness.config import Replay
    from harness.ingest.labelled import Columns, Words, read_labelled
    from harness.pipeline.trial import scorecards

    counted, words = _counted(unscored), Words(**_given(first=first, second=second, tie=tie))
    recorded = _recorded(verdict or (), verdict_first or (), verdict_second or ())
    asked = _given(max_tokens=max_tokens, price=_price(price), prompt_file=prompt_file and str(prompt_file.resolve()))
    sections = [*_of_models(model or (), mode or MODES, asked), *_of_experiment(experiment)]
    _check(output, has_judges=bool(sections or recorded))
    further = [column for item in recorded for column in item.columns.values()]
    columns = Columns(prompt=prompt or (), answer_1=answer_1, answer_2=answer_2, labels=label or (), further=further)
    labelled = read_labelled(dataset, columns, words, joined=join or (), key=key)
    pairs = labelled.sample(sample, seed)
    if not quiet:
        err(_said(labelled, len(pairs)))
    made = _Made(dataset, labelled, sections, budget_usd, Replay(concurrency=concurrency, deadline_s=deadline_s))
    judged = _judged(recorded, made, pairs, words, store=store, runs_dir=runs_dir, quiet=quiet)
    if output is not None:
        _write(judged, pairs, words, output)
    cards = scorecards(judged, pairs, unscored=counted)
    print_cards(cards, labelled, n=len(pairs), unscored=counted, stop_reason=judged.stop_reason, as_json=as_json)
    return 0


class _Made(NamedTuple):
    """What judging a labelled set by models takes."""

    source: str
    labelled: "LabelledSet"
    sections: Sequence["JudgeSection"]
    budget_usd: float | None
    replay: "Replay"


def _judged(
    recorded: Sequence["RecordedVerdicts"],
    made: _Made,
    pairs: Sequence["LabelledPair"],
    words: "Words",
    **where: Any,
) -> "Judged":
    """What every judge says of the pairs; a store is opened for those that have to be asked alone."""
    from harness.pipeline import trial

    found = {item.name: trial.recorded(item, pairs, words) for item in recorded}
    if not made.sections:
        return trial.Judged(found=found)
    experiment = trial.trial_experiment(
        made.labelled, made.source, made.sections, budget_usd=made.budget_usd, replay=made.replay
    )
    with opened_session(experiment, run_id=trial.trial_run_id(experiment, made.labelled), **where) as session:
        asked = run_until_stopped(lambda: trial.judge_pairs(session, pairs), session.stop)
    return replace(asked, found={**found, **asked.found})


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value}


def _counted(unscored: str) -> "Unscored":
    from harness.judging.scorecard import Unscored

    if unscored not in (known := [item.value for item in Unscored]):
        raise ConfigurationError(f"--unscored {unscored!r}: choose from {', '.join(known)}")
    return Unscored(unscored)


def _check(output: Path | None, *, has_judges: bool) -> None:
    """What would be a pity to hear of after the judges were paid."""
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        raise ConfigurationError(f"--output {output}: name a file in a folder that is there")
    if not has_judges:
        raise ConfigurationError(
            "name a judge: --model, --experiment, --verdict, or --verdict-first and --verdict-second"
        )


def _recorded(alone: Sequence[str], first: Sequence[str], second: Sequence[str]) -> list["RecordedVerdicts"]:
    """The judges whose verdicts stand in the set, named by their columns."""
    from harness.pipeline.trial import RecordedVerdicts

    if len(first) != len(second):
        raise ConfigurationError(
            f"--verdict-first is given {len(first)} times and --verdict-second {len(second)} times; they go in pairs"
        )
    both = [
        RecordedVerdicts(name=f"{one} and {two}", first=one, second=two) for one, two in zip(first, second, strict=True)
    ]
    return [*(RecordedVerdicts(name=column, alone=column) for column in alone), *both]


def _of_models(models: Sequence[str], modes: Sequence[str], asked: Mapping[str, Any]) -> list["JudgeSection"]:
    """A pairwise judge for every model and mode."""
    from harness.config import JudgeSection

    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ConfigurationError(f"--mode {unknown[0]!r}: choose from {', '.join(MODES)}")
    sections = []
    for text in dict.fromkeys(models):
        given = {**named_model(text), **asked}
        name = given["model"] if len({named_model(other)["model"] for other in models}) == len(models) else text
        sections += [
            JudgeSection(use="pairwise", name=f"{name} {mode}", options={**given, "mode": mode})
            for mode in dict.fromkeys(modes)
        ]
    return sections


def _of_experiment(file: Path | None) -> list["JudgeSection"]:
    """The experiment's judges that ask a model; the others have no opinion to hold against people's."""
    if file is None:
        return []
    from harness.config import load_experiment
    from harness.pipeline.trial import asking

    judges = load_experiment(file).judges
    sections = list(asking(judges))
    if not sections:
        raise ConfigurationError(
            f"{file}: none of its judges asks a model ({', '.join(item.label for item in judges)})"
        )
    return sections


def _price(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    try:
        read, written = (float(part) for part in text.split("/"))
    except ValueError:
        raise ConfigurationError(f"--price {text!r}: expected two numbers such as 0.15/0.6") from None
    return {"input_per_mtok": read, "output_per_mtok": written}


def _said(labelled: "LabelledSet", used: int) -> str:
    """What was found in the file, for the person at the terminal."""
    columns = labelled.columns
    named = f"request {' + '.join(columns.prompt)}, answers {columns.answer_1} and {columns.answer_2}, "
    named += f"labels {', '.join(columns.labels)}"
    left = "".join(f", {n:,} {reason}" for reason, n in labelled.left_out.items())
    drawn = f"; {used:,} of them drawn" if used < len(labelled.pairs) else ""
    return f"{labelled.name}: {len(labelled.pairs):,} labelled pairs{left}{drawn} ({named})"


def _write(judged: "Judged", pairs: Sequence["LabelledPair"], words: "Words", file: Path) -> None:
    from harness.pipeline.trial import write_judgments

    try:
        write_judgments(judged, pairs, words, file)
    except OSError as error:
        raise InfrastructureError(f"{file} cannot be written ({error.strerror}); name another with --output") from error
