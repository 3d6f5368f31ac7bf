"""Publishing to real places: a folder, a file:// URL and fsspec's memory, one after another and at once."""

import json
import threading
import uuid
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import fsspec
import pandas as pd
import pytest

import reports
from harness.domain.report import EvaluationReport, Readers
from harness.errors import ConfigurationError, InfrastructureError
from harness.pipeline.publishing import publishing
from harness.pipeline.publishing.data import Data
from harness.pipeline.publishing.place import Place, without_password
from harness.pipeline.publishing.publishing import Source, Terms, publish, rebuild
from tests.unit.reports import factory, histories
from tests.unit.reports.page_reader import Page


@pytest.fixture(params=["folder", "file", "memory"])
def url(request, tmp_path) -> str:
    if request.param == "memory":
        return f"memory://place-{uuid.uuid4().hex}/reports"
    folder = tmp_path / "public site" / "reports"
    return str(folder) if request.param == "folder" else folder.as_uri().replace("%20", " ")


def sources(*items: EvaluationReport, folder: Path | None = None) -> list[Source]:
    return [Source(report=item, folder=folder) for item in items]


def contents(url: str) -> dict[str, bytes]:
    """Every file in the place by its name within it."""
    system, root = fsspec.core.url_to_fs(url)
    return {name.removeprefix(root).lstrip("/"): system.cat_file(name) for name in system.find(root)}


def index_of(url: str) -> dict:
    return json.loads(contents(url)["index.json"])


def test_runs_comparisons_and_index_lie_where_the_links_lead(url):
    weeks = histories.weeks(3)
    publication = publish(sources(*weeks), Place(url), Terms())
    found = contents(url)
    assert set(found) == {
        "index.html", "index.json",
        *(f"{item.run_id}/{name}" for item in weeks
          for name in ("report.html", "report.json", "report.md", "junit.xml", "run.json")),
        *(f"compare/{old.run_id}--{new.run_id}.{kind}" for old, new in pairwise(weeks)
          for kind in ("html", "json")),
    }  # fmt: skip
    assert [done.state for done in publication.runs] == ["published"] * 3
    for name, content in found.items():
        if name.endswith(".html") and not name.endswith("report.html"):
            folder = name.rpartition("/")[0]
            for tag in Page.of(content.decode()).tags:
                href = tag.attributes.get("href", "#")
                if not href.startswith("#"):
                    parts = [part for part in f"{folder}/{href}".split("/") if part]
                    while ".." in parts:
                        at = parts.index("..")
                        del parts[at - 1 : at + 1]
                    assert "/".join(parts) in found, (name, href)
    runs = index_of(url)["runs"]
    assert [run["run_id"] for run in runs] == [item.run_id for item in reversed(weeks)]
    assert reports.load_json(found[f"{weeks[0].run_id}/report.json"].decode()) == weeks[0]


def test_the_same_again_changes_no_byte(url):
    weeks = histories.weeks(2)
    publish(sources(*weeks), Place(url), Terms())
    before = contents(url)
    again = publish(sources(*weeks), Place(url), Terms())
    assert [done.state for done in again.runs] == ["unchanged"] * 2
    assert contents(url) == before


def test_one_after_another_is_the_same_as_all_at_once(url, tmp_path):
    weeks = histories.weeks(4)
    for item in (weeks[2], weeks[0], weeks[3], weeks[1]):
        publish(sources(item), Place(url), Terms())
    other = str(tmp_path / "other")
    publish(sources(*weeks), Place(other), Terms())
    one, two = contents(url), contents(other)
    # A page about runs that have had another between them since stays, and nothing leads to it.
    assert {name: one[name] for name in two} == two
    assert {name.partition("/")[0] for name in set(one) - set(two)} <= {"compare"}


def test_a_run_that_went_on_is_updated_and_its_comparison_with_it(url):
    weeks = histories.weeks(2)
    publish(sources(*weeks), Place(url), Terms())
    later = replace(
        weeks[1], decided_at=weeks[1].decided_at + timedelta(hours=1),
        candidates=tuple(replace(c, funnel=replace(c.funnel, comparable=7777)) for c in weeks[1].candidates),
    )  # fmt: skip
    publication = publish(sources(later), Place(url), Terms())
    assert publication.runs[0].state == "updated"
    name = f"compare/{weeks[0].run_id}--{weeks[1].run_id}.html"
    assert b"7,777" in contents(url)[name]
    with pytest.raises(ConfigurationError, match="a later decision"):
        publish(sources(weeks[1]), Place(url), Terms())
    publish(sources(weeks[1]), Place(url), Terms(replace=True))
    assert b"7,777" not in contents(url)[name]


def test_another_run_of_the_same_id_is_not_written_over(url):
    first = histories.report(0)
    publish(sources(first), Place(url), Terms())
    before = contents(url)
    other = replace(first, created_at=first.created_at + timedelta(days=1), decided_at=first.decided_at + timedelta(1))
    with pytest.raises(ConfigurationError, match=r"holds another run 'support-00c4d1', begun 2026-09-04.*--replace"):
        publish(sources(histories.report(1), other), Place(url), Terms())
    assert contents(url) == before, "nothing is written before every run has been checked"
    assert publish(sources(other), Place(url), Terms(replace=True)).runs[0].state == "updated"


def test_one_place_is_for_one_kind_of_readers(url):
    publish(sources(histories.report(0)), Place(url), Terms(readers=Readers.OUTSIDE))
    with pytest.raises(ConfigurationError, match="holds runs for readers outside"):
        publish(sources(histories.report(1)), Place(url), Terms(replace=True))
    saved = reports.load_json(contents(url)["support-00c4d1/report.json"].decode())
    with pytest.raises(ConfigurationError, match="cannot be put back"):
        publish(sources(saved), Place(url), Terms())
    with pytest.raises(ConfigurationError, match="--data all"):
        publish(sources(saved), Place(url), Terms(readers=Readers.OUTSIDE, data=Data.ALL))


def test_data_go_along_as_far_as_they_are_wanted(url, tmp_path):
    item, folder = histories.report(0), tmp_path / "run"
    folder.mkdir()
    pd.DataFrame({"arm": ["a"], "exchange_id": ["secret-1"], "score_x": [1.0]}).to_parquet(folder / "pairs.parquet")
    for name in ("answers.jsonl", "rejects.jsonl", ".hidden.jsonl", "notes.txt"):
        (folder / name).write_text("secret", encoding="utf-8")

    def names(data: Data | None) -> set[str]:
        publish(sources(item, folder=folder), Place(url), Terms(data=data))
        return {name.rpartition("/")[2] for name in contents(url) if name.startswith(item.run_id)}

    plain = {"report.html", "report.json", "report.md", "junit.xml", "run.json"}
    assert names(None) == plain | {"pairs.parquet"}
    assert names(Data.ALL) == plain | {"pairs.parquet", "answers.jsonl"}
    assert names(Data.NONE) == plain, "what is no longer wanted is taken away"
    outside = f"{url}-outside"
    publish(sources(item, folder=folder), Place(outside), Terms(readers=Readers.OUTSIDE, data=Data.NUMBERS))
    found = contents(outside)
    assert f"{item.run_id}/pairs.parquet" in found
    assert not [name for name, content in found.items() if b"secret-1" in content]


HOSTILE = {
    "not json": b"{",
    "deep": b"[" * 200_000,
    "a list": b"[]",
    "no schema": b"{}",
    "newer": b'{"schema": 99}',
    "wrong": b'{"schema": 1, "run_id": 3}',
    "large": b'{"schema": 1, "x": "' + b"a" * 600_000 + b'"}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_run_of_ours_is_left_out_by_name(url, name):
    system, root = fsspec.core.url_to_fs(url)
    system.makedirs(f"{root}/<b>evil", exist_ok=True)
    system.pipe_file(f"{root}/<b>evil/run.json", HOSTILE[name])
    publication = publish(sources(histories.report(0)), Place(url), Terms())
    [left] = publication.index.left_out
    assert left.folder == "<b>evil"
    assert "run.json" in left.why
    page = contents(url)["index.html"].decode()
    assert "<b>evil" not in page
    assert "&lt;b&gt;evil is left out" in page


def test_a_run_file_of_somebody_else_can_neither_run_nor_lead_away_nor_delete(url):
    publish(sources(histories.report(0)), Place(url), Terms())
    system, root = fsspec.core.url_to_fs(url)
    raw = json.loads(system.cat_file(f"{root}/support-00c4d1/run.json"))
    raw["name"] = factory.HOSTILE.encode("utf-8", "replace").decode()
    raw["candidates"][0]["arm"] = "<script>alert(1)</script>"
    raw["files"] = [{"name": "../index.html", "sha256": "x", "bytes": 1},
                    {"name": "report.json", "sha256": "0", "bytes": 1},
                    {"name": "//evil.example/x", "sha256": "x", "bytes": 1}]  # fmt: skip
    raw["fingerprint"] = "../.."
    system.pipe_file(f"{root}/support-00c4d1/run.json", json.dumps(raw).encode())
    moved = {**raw, "run_id": "javascript:alert(1)"}
    system.makedirs(f"{root}/elsewhere", exist_ok=True)
    system.pipe_file(f"{root}/elsewhere/run.json", json.dumps(moved).encode())
    publish(sources(histories.report(1)), Place(url), Terms())
    page = Page.of(contents(url)["index.html"].decode())
    assert not page.named("script", "img", "iframe", "base")
    targets = {tag.attributes["href"] for tag in page.tags if "href" in tag.attributes}
    assert not [target for target in targets if ":" in target or target.startswith(("/", ".."))]
    assert "elsewhere is left out: run.json: it is of another run than its folder" in page.text
    # Its own author's run is written over, and only what is really in its folder may go.
    publish(sources(histories.report(0)), Place(url), Terms(replace=True))
    assert {"index.html", "index.json"} <= set(contents(url))


def test_two_at_once_lose_nobodys_run(url):
    weeks = histories.weeks(6)
    begin, failures = threading.Barrier(6), []

    def one(item: EvaluationReport) -> None:
        try:
            begin.wait()
            publish(sources(item), Place(url), Terms())
        except Exception as error:  # noqa: BLE001  shown below
            failures.append(error)

    threads = [threading.Thread(target=one, args=(item,)) for item in weeks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    index = index_of(url)
    assert {run["run_id"] for run in index["runs"]} == {item.run_id for item in weeks}
    assert len(index["comparisons"]) == 5
    assert not [name for name in contents(url) if ".part" in name]


def test_a_run_published_while_the_index_was_written_is_in_it(url, monkeypatch):
    """The other one wrote its run and the index just before ours, which did not know of it."""
    mine, theirs = histories.report(0), histories.report(1)
    render = publishing.index.render_html
    done = []

    def late(found):
        if not done:
            done.append(True)
            publish(sources(theirs), Place(url), Terms())
        return render(found)

    monkeypatch.setattr(publishing.index, "render_html", late)
    publish(sources(mine), Place(url), Terms())
    assert [run["run_id"] for run in index_of(url)["runs"]] == [theirs.run_id, mine.run_id]
    assert theirs.run_id in contents(url)["index.html"].decode()


@pytest.mark.parametrize("at", range(8))
def test_an_interrupted_publication_is_finished_by_the_same_command(url, tmp_path, monkeypatch, at):
    weeks, writes = histories.weeks(2), []
    put = Place._put

    def interrupted(self, path, content):
        writes.append(path)
        if len(writes) == at + 1:
            raise KeyboardInterrupt
        put(self, path, content)

    monkeypatch.setattr(Place, "_put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(sources(*weeks), Place(url), Terms())
    assert not [name for name in contents(url) if ".part" in name], "nothing half written stays behind"
    rebuild(Place(url))
    assert len(index_of(url)["runs"]) == (1 if at >= 5 else 0), "a run without all of its files is not in the index"
    monkeypatch.setattr(Place, "_put", put)
    publish(sources(*weeks), Place(url), Terms())
    straight = str(tmp_path / "straight")
    publish(sources(*weeks), Place(straight), Terms())
    assert contents(url) == contents(straight)


def test_a_report_that_was_changed_by_hand_is_not_compared(url):
    weeks = histories.weeks(2)
    publish(sources(weeks[0]), Place(url), Terms())
    system, root = fsspec.core.url_to_fs(url)
    name = f"{root}/{weeks[0].run_id}/report.json"
    system.pipe_file(name, system.cat_file(name).replace(b"0.83", b"0.13"))
    publication = publish(sources(weeks[1]), Place(url), Terms())
    assert publication.index.comparisons == ()
    assert [item.why for item in publication.index.left_out] == [
        "not compared: report.json is not the one that run.json names"
    ]


def test_a_run_is_not_published_over_the_files_it_comes_from(tmp_path):
    item = histories.report(0)
    folder = tmp_path / "runs" / item.run_id
    folder.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="over the files it comes from"):
        publish(sources(item, folder=folder), Place(str(tmp_path / "runs")), Terms(readers=Readers.OUTSIDE))


@pytest.mark.parametrize("run_id", ["compare", "index.html", "../up", "a/b", ".hidden"])
def test_an_id_that_could_lie_elsewhere_is_refused(tmp_path, run_id):
    item = replace(histories.report(0), run_id=run_id)
    with pytest.raises(ConfigurationError):
        publish(sources(item), Place(str(tmp_path / "p")), Terms())


def test_ids_with_any_sign_are_linked_as_they_are(url):
    items = [replace(histories.report(n), run_id=run_id) for n, run_id in enumerate(("a b#?%é", "x--y", "x--y & <z>"))]
    publish(sources(*items), Place(url), Terms())
    page = contents(url)["index.html"].decode()
    assert 'href="a%20b%23%3F%25%C3%A9/report.html"' in page
    assert 'href="x--y%20%26%20%3Cz%3E/report.html"' in page
    assert len(index_of(url)["comparisons"]) == 2


def test_a_star_in_an_id_is_no_pattern(url, tmp_path):
    """Taking away what is stale of one run touches no other."""
    folder = tmp_path / "run"
    folder.mkdir()
    pd.DataFrame({"arm": ["a"]}).to_parquet(folder / "pairs.parquet")
    starred = replace(histories.report(0), run_id="support-*")
    publish(sources(starred, histories.report(1), folder=folder), Place(url), Terms())
    publish(sources(starred, folder=folder), Place(url), Terms(data=Data.NONE))
    names = {name for name in contents(url) if name.endswith("pairs.parquet")}
    assert names == {"support-01c4d1/pairs.parquet"}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("s3://bucket/reports", "s3fs"),
        ("gs://bucket/reports", "gcsfs"),
        ("abfs://container/reports", "adlfs"),
    ],
)
def test_a_place_without_its_package_names_it(target, said):
    with pytest.raises(ConfigurationError, match=rf"pip install {said}"):
        Place(target)


def test_a_place_nobody_knows_and_one_that_cannot_be_written(tmp_path):
    with pytest.raises(ConfigurationError, match="is no place to publish to: Protocol not known: nonsense"):
        Place("nonsense://x")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InfrastructureError, match="cannot be written"):
        publish(sources(histories.report(0)), Place(str(tmp_path / "file" / "below")), Terms())
    assert without_password("ftp://me:secret@host/x?sig=secret") == "ftp://host/x"
