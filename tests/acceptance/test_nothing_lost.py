"""Gateway and worker are killed again and again: every request is answered, every record is in the store once."""

from tests import chaos


def test_kills_lose_nothing_that_was_written_and_double_nothing(tmp_path):
    found = chaos.run(tmp_path, requests=1_000, rate=80, kill_every_s=1.0)

    assert found.answered == found.requests
    assert found.refused == 0, "the listening socket outlives the processes behind it"
    assert found.gateway_kills >= 2
    assert found.worker_kills >= 1
    # Each attempt that reached a gateway process is accounted for once.
    counts = found.counts
    dropped = sum(number for name, number in counts.items() if name.startswith("dropped."))
    assert counts["sampled"] == counts["spooled"] + dropped
    assert dropped == counts["dropped.unflushed"]
    # What reached the spool is in the store, once; what did not is counted.
    assert counts["spooled"] == len(found.stored)
    assert len(set(found.stored)) <= len(found.stored) <= len(set(found.stored)) + found.broken
    missing = found.requests - len(set(found.stored))
    assert missing <= counts["dropped.unflushed"]
    # Each of them ended in the candidate's arm, once.
    assert found.observations == len(found.stored)
    assert set(found.asked) == set(found.stored)
    assert found.funnel["problems"] == []
