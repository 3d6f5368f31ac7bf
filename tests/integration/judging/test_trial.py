"""Judges on a labelled set: through the store with a scripted provider, and with a real small model."""

import json
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.cli import main
from harness.config import JudgeSection, Replay, Settings
from harness.domain.exchange import ChatRequest
from harness.domain.judgment import JudgmentState
from harness.domain.model import ModelClient, ModelSpec
from harness.domain.stop import StopSignal
from harness.ingest.labelled import Columns, LabelledSet, Words, read_labelled
from harness.judging.scorecard import Unscored
from harness.models.budget import BudgetedClient, Purse
from harness.pipeline import judging
from harness.pipeline.session import Session, open_session
from harness.pipeline.trial import Judged, judge_pairs, scorecards, trial_experiment, trial_run_id
from harness.store import Store
from harness.testing import ScriptedModelClient, reply

QUESTIONS = Path(__file__).parents[2] / "data" / "labelled" / "questions.jsonl"
WORDS = Words(first=["A"], second=["B"], tie=["same"])
PRICE_OF_A_CALL = 0.01


class Trials:
    """Tries judges on a labelled set, each time in a process of its own as far as the store can tell."""

    def __init__(self, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.store = folder, store
        self.calls: list[tuple[ChatRequest, ModelSpec]] = []
        self.answer: Callable[[ChatRequest, ModelSpec], str] = lambda request, model: "A"

        @asynccontextmanager
        async def opened(
            _: Session, purse: Purse, specs: Sequence[ModelSpec], **_more: StopSignal
        ) -> AsyncIterator[ModelClient]:
            provider = ScriptedModelClient(
                lambda request, model: reply(self.answer(request, model), cost_usd=PRICE_OF_A_CALL), calls=self.calls
            )
            yield BudgetedClient(provider, purse, lambda model: (0.0, PRICE_OF_A_CALL / 4096))

        monkeypatch.setattr(judging, "opened_client", opened)

    def read(self) -> tuple[str, LabelledSet]:
        source = str(self.folder / "questions.jsonl")
        return source, read_labelled(source, Columns(), WORDS)

    async def judge(self, *judges: JudgeSection, sample: int | None = None, budget: float | None = None) -> Judged:
        source, labelled = self.read()
        experiment = trial_experiment(labelled, source, judges, budget_usd=budget, replay=Replay(concurrency=1))
        run_id = trial_run_id(experiment, labelled)
        settings = Settings(runs_dir=self.folder / "runs")
        session = open_session(experiment, store=self.store, settings=settings, run_id=run_id)
        self.calls.clear()
        return await judge_pairs(session, labelled.sample(sample, seed=0))


def pairwise(mode: str = "plain", **options) -> JudgeSection:
    return JudgeSection(use="pairwise", name=mode, options={"model": "openai/judge", "mode": mode, **options})


@pytest.fixture
def trials(tmp_path, monkeypatch):
    shutil.copy(QUESTIONS, tmp_path / "questions.jsonl")
    with Store.open(f"sqlite:///{tmp_path}/harness.db") as store:
        yield Trials(tmp_path, store, monkeypatch)


async def test_answer_1_is_production_and_answer_2_the_candidate(trials):
    judged = await trials.judge(pairwise())
    _, labelled = trials.read()
    [card] = scorecards(judged, labelled.pairs, unscored=Unscored.WRONG)
    assert [int(item.extra["count"]) for item in card.correct] == [1, 2, 0], "always A: right where A is the better one"
    assert (card.pairs, card.scored, card.ties) == (3, 3, 3)
    assert card.usage.tokens_in_per_pair == 20
    assert card.usage.cost_usd == pytest.approx(6 * PRICE_OF_A_CALL)
    shown = [str(request.messages[-1]["content"]) for request, _ in trials.calls]
    assert sum("What is the capital of France?" in text for text in shown) == 2


async def test_nothing_is_asked_twice_and_a_larger_sample_asks_only_for_more(trials):
    await trials.judge(pairwise(), sample=1)
    assert len(trials.calls) == 2
    judged = await trials.judge(pairwise())
    assert len(trials.calls) == 4
    assert len(judged.found["plain"]) == 6
    again = await trials.judge(pairwise(), sample=2)
    assert trials.calls == []
    assert len(again.found["plain"]) == 4, "of the pairs asked for, not of those stored"
    await trials.judge(pairwise(), pairwise("structured"))
    assert {request.params["max_tokens"] for request, _ in trials.calls} == {4096}
    assert len(trials.calls) >= 6


async def test_a_spent_budget_says_so_and_the_next_one_goes_on(trials):
    first = await trials.judge(pairwise(), budget=2 * PRICE_OF_A_CALL)
    assert first.stop_reason == "budget"
    assert len(trials.calls) == 2
    second = await trials.judge(pairwise(), budget=1.0)
    assert second.stop_reason is None
    assert len(trials.calls) == 4


async def test_personal_data_is_replaced_before_it_is_stored(trials):
    record = {"question": "Write to jane.doe@example.com", "answer_a": "Dear jane.doe@example.com", "answer_b": "No.",
              "label": "A"}  # fmt: skip
    (trials.folder / "questions.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    await trials.judge(pairwise())
    shown = str([request.messages for request, _ in trials.calls])
    assert "<EMAIL_" in shown
    assert "jane.doe" not in shown


async def test_another_file_or_column_is_another_run(trials):
    source, labelled = trials.read()
    experiment = trial_experiment(labelled, source, [pairwise()], budget_usd=None, replay=Replay())
    other = read_labelled(source, Columns(prompt=["question", "annotator1"]), WORDS)
    assert trial_run_id(experiment, labelled) != trial_run_id(experiment, other)
    assert experiment.name == "judges-questions"
    with (trials.folder / "questions.jsonl").open("a", encoding="utf-8") as file:
        file.write(QUESTIONS.read_text(encoding="utf-8").splitlines()[0] + "\n")
    _, longer = trials.read()
    assert trial_run_id(experiment, labelled) != trial_run_id(experiment, longer)


async def test_a_judge_whose_scores_are_no_preference_is_taken_by_its_labels(trials):
    rubric = JudgeSection(use="rubric", name="rubric", options={"model": "openai/judge", "mode": "plain"})
    trials.answer = lambda request, model: "5" if "Paris" in str(request.messages[-1]["content"]) else "2"
    judged = await trials.judge(rubric)
    values = {item.exchange_id: item.value for item in judged.found["rubric"]}
    assert values == {"row-000001": 0.0, "row-000002": 0.5, "row-000004": 0.5}


@pytest.mark.models
def test_a_real_model_is_measured_softly_and_plainly_in_both_orders(model_server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    monkeypatch.chdir(tmp_path)
    shutil.copy(QUESTIONS, tmp_path / "questions.jsonl")
    command = [
        "judges", "evaluate", "questions.jsonl", "--first", "A", "--second", "B", "--tie", "same",
        "-m", f"openai/{model_server.name}@{model_server.openai_base}", "--mode", "soft", "--mode", "plain",
        "--label", "annotator1", "--output", "out.jsonl", "--json", "--deadline-s", "240",
    ]  # fmt: skip
    assert main(command) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert "✓ judge answer-2 · openai/" in printed.err
    assert (found["pairs"], found["stop_reason"]) == (4, None)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 16
    soft, plain = found["judges"]
    assert [card["judge"].rpartition(" ")[2] for card in (soft, plain)] == ["soft", "plain"]
    for card in (soft, plain):
        assert card["scored"] + sum(card["unscored"].values()) == 4
        assert card["usage"]["tokens_in_per_pair"] > 200
        assert card["usage"]["seconds_per_pair"] > 0
    values = [row["value"] for row in rows if row["judge"].endswith("soft") and row["state"] == JudgmentState.SCORED]
    assert all(0 < value < 1 for value in values)

    assert main(command) == 0
    again = capsys.readouterr()
    assert json.loads(again.out) == found, "what is stored is not asked for again"
    assert "nothing to do" in again.err
