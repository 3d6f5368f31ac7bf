"""Metrics as Prometheus' own parser reads them, and the gateway's counts among them."""

from prometheus_client.parser import text_string_to_metric_families

from harness.domain.mirror import MirrorDrop, NotEligible
from harness.gateway import state
from harness.ops import metrics
from harness.ops.metrics import Histogram, Reading
from harness.spool.counters import ADDED, INDEX, CounterFile


def samples(readings) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.render(readings).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_gauges_counters_and_labels():
    found = samples(
        [
            Reading.of("size", "Size", 1.5),
            Reading.of("requests", "Requests", 7, kind="counter"),
            Reading(name="dropped", help="x", kind="counter", labels=("reason",), values=[(("a",), 1), (("b",), 2)]),
        ]
    )
    assert found == {
        "shadow_size": {(): 1.5}, "shadow_requests_total": {(): 7}, "shadow_dropped_total": {("a",): 1, ("b",): 2},
    }  # fmt: skip


def test_a_histogram_is_cumulative_and_ends_with_everything():
    found = samples([Histogram(name="added_seconds", help="x", bounds=[0.1, 0.2], counts=[3, 2, 1], total=0.7)])
    assert found["shadow_added_seconds_bucket"] == {("0.1",): 3, ("0.2",): 5, ("+Inf",): 6}
    assert found["shadow_added_seconds_count"] == {(): 6}
    assert found["shadow_added_seconds_sum"] == {(): 0.7}


def test_no_counts_yet_is_a_full_set_of_zeros(tmp_path):
    found = samples(state.readings(tmp_path / "not there yet"))
    assert set(found["shadow_mirror_dropped_total"]) == {(reason.value,) for reason in MirrorDrop}
    assert set(found["shadow_mirror_not_eligible_total"]) == {(reason.value,) for reason in NotEligible}
    assert all(value == 0 for name, labels in found.items() for value in labels.values() if "enabled" not in name)
    assert found["shadow_mirror_enabled"] == {(): 1}


def test_what_processes_count_is_what_is_shown(tmp_path):
    files = [CounterFile(tmp_path / "counters", name) for name in ("a", "b")]
    for file in files:
        for name, number in (("requests", 5), ("started", 5), ("answered", 4), ("sampled", 3), ("spooled", 2),
                             ("dropped.queue_full", 1), ("status.2", 4), (ADDED[0], 3), (ADDED[-1], 1),
                             ("added_us.sum", 1_000)):  # fmt: skip
            file.values[INDEX[name]] = number
    files[0].close()
    found = samples(state.readings(tmp_path))
    assert found["shadow_gateway_requests_total"] == {(): 10}
    assert found["shadow_gateway_in_flight"] == {(): 2}
    assert found["shadow_gateway_responses_total"][("2xx",)] == 8
    assert found["shadow_mirror_dropped_total"][("queue_full",)] == 2
    assert found["shadow_gateway_added_seconds_bucket"][("5e-05",)] == 6
    assert found["shadow_gateway_added_seconds_count"] == {(): 8}
    assert found["shadow_gateway_added_seconds_sum"] == {(): 0.002}
    files[1].close()


def test_no_label_comes_from_a_request(tmp_path):
    """Ids, paths and texts as labels would be as many time series as requests."""
    for family in text_string_to_metric_families(metrics.render(state.readings(tmp_path)).decode()):
        assert {name for sample in family.samples for name in sample.labels} <= {"status", "reason", "outcome", "le"}
