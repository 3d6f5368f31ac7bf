"""From the spool to a decision, through real files, a real store and a real model server on loopback."""

from harness.domain.decision import Verdict
from tests.integration.live.spooled import captured, live, spool


async def test_everything_in_the_spool_is_asked_judged_and_decided(tmp_path, store, worker_on, upstream):
    spool(tmp_path, [captured(i) for i in range(30)])

    state = await worker_on(live(tmp_path, f"http://127.0.0.1:{upstream.port}/v1")).run()

    assert state.endings == {"exchange": 30}
    assert state.lag_bytes == 0
    assert not list((tmp_path / "spool").glob("*.spool"))
    [arm] = state.arms
    assert arm.outcomes["completed"] == {"": 30}
    assert arm.verdict is Verdict.GO
    assert sorted(upstream.questions) == sorted(f"Question {i}?" for i in range(30))
    assert store.ingest_report("live").sampled == 30
    assert [record.decision["arms"]["new"]["verdict"] for record in store.decisions("live")][-1] == "GO"
    assert (tmp_path / "runs" / "live" / "report.html").exists()
