import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zstandard

from harness.config import JudgeSection, Redaction
from harness.domain.exchange import ChatRequest
from harness.domain.judgment import JudgmentState, Label, UnscoredReason
from harness.errors import ConfigurationError, InputError
from harness.ingest.redaction import Redactor
from harness.judging.protocol import JudgeContext, fingerprint
from harness.registry import build_judge
from harness.stats import means
from harness.testing import FakeEmbedder, ScriptedModelClient, model_error, observation, pair
from judges.recorded import RecordedJudge

CTX = JudgeContext(judge="people", fingerprint="f", models=ScriptedModelClient([]), embedder=FakeEmbedder())


@pytest.fixture
def write(tmp_path: Path):
    def to_file(rows: list[dict], name: str = "verdicts.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return to_file


async def judged(judge: RecordedJudge, both=None):
    (judgment,) = await judge.judge(both or pair(), CTX)
    return judgment


@pytest.mark.parametrize(
    ("recorded", "value", "label"),
    [
        (2, 1.0, Label.WIN),
        (1.25, 0.25, Label.LOSS),
        (1.5, 0.5, Label.TIE),
        ("1.75", 0.75, Label.WIN),
        (0, 0.5, Label.TIE),
    ],
)
async def test_numbers_are_put_on_the_candidates_scale(write, recorded, value, label):
    file = write([{"id": "e1", "preference": recorded, "why": "better"}])
    judge = RecordedJudge(file=file, value="preference", low=1, high=2, draw_values=(0.0,), reason="why")
    judgment = await judged(judge)
    assert (judgment.state, judgment.value, judgment.label) == (JudgmentState.SCORED, value, label)
    assert judgment.explanation == "better"
    assert judgment.details == {"recorded": recorded, "row": 1}


async def test_invert_turns_the_files_sides_round(write):
    file = write([{"id": "e1", "preference": 1.2}])
    judgment = await judged(RecordedJudge(file=file, value="preference", low=1, high=2, invert=True))
    assert (judgment.value, judgment.label) == (pytest.approx(0.8), Label.WIN)


@pytest.mark.parametrize(("recorded", "label"), [(0, Label.TIE), (1, Label.LOSS), ("2", Label.WIN)])
async def test_words_are_mapped_to_verdicts(write, recorded, label):
    file = write([{"idx": "e1", "annotator1": recorded}])
    judge = RecordedJudge(file=file, key="idx", label="annotator1", labels={"0": "tie", "1": "loss", "2": "win"})
    judgment = await judged(judge)
    assert judgment.label is label
    assert judgment.value == {Label.WIN: 1.0, Label.TIE: 0.5, Label.LOSS: 0.0}[label]


@pytest.mark.parametrize(
    ("row", "options", "note"),
    [
        ({"v": 3}, {"value": "v"}, "'3' is no number from 0 to 1"),
        ({"v": "good"}, {"value": "v"}, "'good' is no number from 0 to 1"),
        ({"v": True}, {"value": "v"}, "'true' is no number from 0 to 1"),
        ({"v": "nan"}, {"value": "v"}, "'nan' is no number from 0 to 1"),
        ({"v": "garbage"}, {"label": "v"}, "'garbage' is none of win, tie, loss"),
    ],
)
async def test_a_verdict_that_means_nothing_is_off_the_menu_and_no_tie(write, row, options, note):
    judgment = await judged(RecordedJudge(file=write([{"id": "e1"} | row]), **options))
    assert (judgment.state, judgment.reason, judgment.value) == (
        JudgmentState.UNSCORED,
        UnscoredReason.OFF_MENU,
        None,
    )
    assert judgment.explanation == note


@pytest.mark.parametrize(
    "row", [{"id": "e1", "v": None}, {"id": "e1", "v": " "}, {"id": "e1"}, {"id": "other", "v": 1}]
)
async def test_no_verdict_is_not_applicable(write, row):
    judgment = await judged(RecordedJudge(file=write([row, {"id": "e9", "v": 1}]), value="v"))
    assert (judgment.value, judgment.reason) == (None, UnscoredReason.NOT_APPLICABLE)


async def test_the_first_of_several_rows_counts_and_the_others_are_counted(write):
    judge = RecordedJudge(file=write([{"id": "e1", "v": 1}, {"id": "e1", "v": 0}, {"id": "e1", "v": 0}]), value="v")
    assert (await judged(judge)).value == 1.0
    assert judge.duplicates == 2


async def test_rows_match_by_trace_prompt_or_metadata(write):
    both = pair(prompt="Capital of France? \n", metadata={"trace_id": "t-1", "ticket": "A7"})
    for match, key in (("trace_id", "t-1"), ("prompt", "Capital of France?"), ("metadata.ticket", "A7")):
        judge = RecordedJudge(file=write([{"k": key, "v": 1}]), key="k", match=match, value="v")
        assert (await judged(judge, both)).value == 1.0
        assert (await judged(judge, pair(prompt="Capital of Spain?"))).reason is UnscoredReason.NOT_APPLICABLE


async def test_the_prompt_is_the_last_user_message_also_in_parts(write):
    messages = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": [{"type": "text", "text": "Capital?"}, {"type": "image", "url": "x"}]},
    )
    judge = RecordedJudge(file=write([{"k": "Capital?", "v": 1}]), key="k", match="prompt", value="v")
    assert (await judged(judge, pair(request=ChatRequest(model="m", messages=messages)))).value == 1.0
    silent = ChatRequest(model="m", messages=({"role": "user", "content": None},))
    assert (await judged(judge, pair(request=silent))).reason is UnscoredReason.NOT_APPLICABLE
    assert (await judged(judge, pair(request=replace(silent, messages=messages[:1])))).value is None


async def test_keys_find_their_pair_although_it_was_redacted(write):
    prompt = "Write to jane.doe@example.org about invoice 7"
    stored = Redactor(Redaction()).exchange(pair(prompt=prompt, metadata={"customer": "jane.doe@example.org"}).exchange)
    assert "jane.doe" not in stored.request.messages[0]["content"]
    both = replace(pair(), exchange=stored)
    by_prompt = RecordedJudge(file=write([{"k": prompt, "v": 1}]), key="k", match="prompt", value="v")
    assert (await judged(by_prompt, both)).value == 1.0
    file = write([{"k": "jane.doe@example.org", "v": 1}], "customers.jsonl")
    by_customer = RecordedJudge(file=file, key="k", match="metadata.customer", value="v")
    assert (await judged(by_customer, both)).value == 1.0


async def test_explanations_are_redacted_too(write):
    judge = RecordedJudge(file=write([{"id": "e1", "v": 1, "why": "ask bob@example.org"}]), value="v", reason="why")
    assert "bob@" not in (await judged(judge)).explanation


async def test_verdicts_of_another_arm_are_not_used(write):
    file = write([{"id": "e1", "v": 1}])
    replica = replace(pair(), candidate=observation(arm="replica"))
    assert (await judged(RecordedJudge(file=file, value="v"), replica)).reason is UnscoredReason.NOT_APPLICABLE
    assert (await judged(RecordedJudge(file=file, value="v", arm="other"))).reason is UnscoredReason.NOT_APPLICABLE
    assert (await judged(RecordedJudge(file=file, value="v", arm="candidate"))).value == 1.0


async def test_a_failed_side_is_not_comparable(write):
    failed = replace(pair(), candidate=observation(arm="candidate", error=model_error().error))
    judgment = await judged(RecordedJudge(file=write([{"id": "e1", "v": 1}]), value="v"), failed)
    assert judgment.reason is UnscoredReason.NOT_COMPARABLE


@pytest.mark.parametrize("name", ["v.json", "v.jsonl.gz", "v.jsonl.zst", "v.csv", "v.csv.gz"])
async def test_every_kind_of_file(tmp_path, name):
    rows = [{"id": "e0", "v": 0}, {"id": "e1", "v": 1}]
    if ".csv" in name:
        data = b"id,v\r\ne0,0\r\ne1,1\r\n"
    else:
        data = (json.dumps(rows, indent=1) if ".jsonl" not in name else "\n".join(map(json.dumps, rows))).encode()
    packed = gzip.compress(data) if name.endswith(".gz") else data
    packed = zstandard.ZstdCompressor().compress(data) if name.endswith(".zst") else packed
    (tmp_path / name).write_bytes(packed)
    judgment = await judged(RecordedJudge(file=str(tmp_path / name), value="v"))
    assert (judgment.value, judgment.details["row"]) == (1.0, 2)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ('{"id": "e1", "v": 1}\n{"id": \n', {}, r"verdicts\.jsonl, line 2: is not valid JSON"),
        (
            '{"id": "e1", "v": 1}\n{"name": "e2", "v": 1}\n',
            {},
            r"verdicts\.jsonl, line 2: no column 'id'; columns: name, v",
        ),
        ('{"id": "e1", "score": 1}\n', {}, r"no row has a column 'v'; columns: id, score"),
        ('{"id": "e1", "v": 1}\n', {"reason": "why"}, r"no row has a column 'why'"),
        ("", {}, r"no row has a column 'v'; columns: none"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(tmp_path, content, options, message):
    file = tmp_path / "verdicts.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        RecordedJudge(file=str(file), **({"value": "v"} | options))


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        RecordedJudge(file=str(tmp_path / "nowhere.jsonl"), value="v")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of `value`"),
        ({"value": "v", "label": "w"}, "exactly one of `value`"),
        ({"value": "v", "low": 1.0}, "`low` and `high` must differ"),
        ({"value": "v", "match": "colour"}, "`match` is id, trace_id, prompt or metadata.<name>, not 'colour'"),
        ({"value": "v", "sha256": "0" * 64}, "has changed: its sha256 is"),
    ],
)
def test_options_that_do_not_go_together(write, options, message):
    file = write([{"id": "e1", "v": 1}])
    with pytest.raises(ConfigurationError, match=message):
        RecordedJudge(file=file, **options)


def test_other_content_is_another_judge(write):
    first = fingerprint(RecordedJudge(file=write([{"id": "e1", "v": 1}]), value="v"))
    again = fingerprint(RecordedJudge(file=write([{"id": "e1", "v": 1}]), value="v"))
    changed = fingerprint(RecordedJudge(file=write([{"id": "e1", "v": 0}]), value="v"))
    assert first == again != changed
    moved = write([{"id": "e1", "v": 1}], "elsewhere.jsonl")
    assert fingerprint(RecordedJudge(file=moved, value="v")) == first


async def test_an_experiment_names_it_like_any_judge(write):
    file = write([{"id": "e1", "winner": "b"}], "labels.jsonl")
    options = {"file": file, "key": "id", "label": "winner", "labels": {"a": "loss", "b": "win", "same": "tie"}}
    judge = build_judge(JudgeSection(use="recorded", name="people", options=options))
    assert isinstance(judge, RecordedJudge)
    assert (await judged(judge)).label is Label.WIN


async def test_win_rate_and_standard_error_come_out_of_the_judgments(write):
    preferences = np.random.default_rng(0).beta(0.3, 1.2, 300) + 1
    rows = [{"prompt": f"Question {i}?", "preference": float(p)} for i, p in enumerate(preferences)]
    judge = RecordedJudge(file=write(rows), key="prompt", match="prompt", value="preference", low=1, high=2)
    values = [(await judged(judge, pair(id=f"e{i}", prompt=f"Question {i}?"))).value for i in range(300)]
    estimate = means.mean(np.array(values), np.arange(300), bounds=(0.0, 1.0))
    assert estimate.value == pytest.approx(np.mean(preferences - 1))
    assert estimate.std_error == pytest.approx(np.std(preferences - 1, ddof=1) / 300**0.5)
