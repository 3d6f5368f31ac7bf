"""The weights in a LiteLLM proxy: what its router makes of them, and what is done when the proxy does not comply."""

import json
import random
import time

import pytest

from harness.config.rollout import LiteLLMActuator
from harness.controller.actuators import Route
from harness.controller.litellm_weights import LiteLLMWeights, ProxyError
from harness.errors import ConfigurationError
from tests.integration.controller import loopback
from tests.integration.controller.litellm_proxy import KEY, Proxy, deployment, running
from tests.integration.controller.loopback import answering
from tests.unit.controller.happening import Seconds

P, C = "prod-1", "cand/2"
"""An id with a slash has to be written as one part of a path."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LITELLM_MASTER", KEY)
    random.seed(1)


@pytest.fixture
def proxy():
    with running(deployment(P), deployment(C)) as proxy:
        yield proxy


def actuator(proxy: Proxy, *, clock=None, **more) -> LiteLLMWeights:
    options = {
        "kind": "litellm", "url": proxy.server.url, "key_env": "LITELLM_MASTER", "production_id": P, "candidate_id": C,
        "timeout_s": 0.8,
    }  # fmt: skip
    return LiteLLMWeights(LiteLLMActuator(**(options | more)), clock=clock or Seconds())


def to(share: float) -> Route:
    return Route(rollout_id="swap-1", number=7, candidate="small", share=share, reason="it is time")


# A proxy that does as it is told


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.95])
def test_the_router_gives_the_candidate_its_share(proxy, share):
    actuator(proxy).apply(to(share))
    assert proxy.picks(count=4_000)[C] / 4_000 == pytest.approx(share, abs=0.03)


def test_a_roll_back_leaves_the_candidate_nothing_not_even_while_production_rests(proxy):
    acts = actuator(proxy)
    acts.apply(to(0.5))
    acts.apply(to(0.0))
    assert proxy.weights == {P: 10_000, C: 0}
    assert proxy.picks() == {P: 2_000}
    assert proxy.picks(resting=(P,)) == {}


def test_without_blocking_a_weight_of_0_gets_everything_while_production_rests(proxy):
    """What the documentation says of `block: false`."""
    actuator(proxy, block=False).apply(to(0.0))
    assert proxy.picks() == {P: 2_000}
    assert proxy.picks(resting=(P,)) == {C: 2_000}


def test_what_is_as_it_should_be_is_not_written_again(proxy):
    acts = actuator(proxy)
    for share in (0.25, 0.25, 0.0, 0.0):
        acts.apply(to(share))
    actuator(proxy).apply(to(0.0))  # another process
    assert proxy.changes == ["prod-1", "cand%2F2", "cand%2F2", "prod-1"]


def test_only_weights_are_changed(proxy):
    switches = {"use_in_pass_through": True, "merge_reasoning_content_in_choices": True, "use_xai_oauth": True}
    proxy.rows[P]["litellm_params"] |= switches | {"rpm": 100, "drop_params": True, "custom": "x"}
    before = json.loads(json.dumps(proxy.rows))
    actuator(proxy).apply(to(0.25))
    for id_, weight in ((P, 7_500), (C, 2_500)):
        after = proxy.rows[id_]
        assert after["litellm_params"].pop("weight") == weight
        assert after["litellm_params"].items() >= before[id_]["litellm_params"].items()
        assert not {name for name, value in after["litellm_params"].items() if value is True} - {
            *switches,
            "drop_params",
        }
        assert after["model_info"] == before[id_]["model_info"]


def test_switches_of_a_later_version_stay_as_they_are(proxy):
    proxy.rows[C]["litellm_params"] |= {"newly_invented": True, "off": False}
    proxy.forgets = ("newly_invented", "off")
    actuator(proxy).apply(to(0.25))
    assert proxy.rows[C]["litellm_params"]["newly_invented"] is True
    assert proxy.rows[C]["litellm_params"]["off"] is False


def test_switches_stay_as_they_are_when_they_cannot_be_read(proxy):
    proxy.rows[C]["litellm_params"] |= {"use_in_pass_through": True, "use_xai_oauth": True}
    proxy.reading = answering(500)
    with pytest.raises(ProxyError, match="the weights were not read"):
        actuator(proxy).apply(to(0.0))
    assert proxy.rows[C]["litellm_params"]["use_in_pass_through"] is True
    assert proxy.rows[C]["litellm_params"]["use_xai_oauth"] is True


@pytest.mark.parametrize("weights", [(None, None), (1, 0), (7_500, 2_500), (0, 0), (10_000, 0)])
def test_between_two_writes_the_candidate_never_has_more_than_at_either_end(weights):
    with running(deployment(P, weights[0]), deployment(C, weights[1])) as proxy:
        before = proxy.picks(count=500)[C] / 500
        seen: list[float] = []
        change = proxy._change

        def watched(*arguments) -> None:
            change(*arguments)
            seen.append(proxy.picks(count=500)[C] / 500)

        proxy._change = watched
        actuator(proxy).apply(to(0.05))
        assert max(seen) <= max(before, 0.05) + 0.04


def test_people_who_change_a_weight_are_overruled(proxy):
    acts = actuator(proxy)
    acts.apply(to(0.05))
    proxy.rows[C]["litellm_params"]["weight"] = 9_000
    clock = acts._clock
    clock.now += 61
    acts.apply(to(0.05))
    assert proxy.weights == {P: 9_500, C: 500}


# A proxy in which the weights would not mean anything


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x": deployment("x", 5)}, "model group 'chat' has other deployments with a weight: x"),
        ({C: deployment(C, params={"order": 2})}, "different `order`"),
        ({C: deployment(C, db_model=False)}, "cand/2: in the proxy's file"),
        ({P: deployment(P, blocked=True)}, "production's deployment prod-1 is blocked"),
        ({C: deployment(C, group="other")}, "'chat' and cand/2 of 'other'"),
    ],
)
def test_a_share_is_not_given_where_it_would_be_another(proxy, changed, said):
    proxy.rows |= changed
    with pytest.raises(ProxyError, match=said):
        actuator(proxy).apply(to(0.05))
    assert proxy.changes == []


def test_others_without_a_weight_and_aliases_of_the_group_are_no_obstacle(proxy):
    proxy.rows["spare"] = deployment("spare")
    proxy.rows["alias"] = deployment(C, group="alias-of-chat")
    actuator(proxy).apply(to(0.05))
    assert proxy.picks()["spare"] == 0


def test_deployments_of_two_groups_are_not_touched_even_to_take_away(proxy):
    proxy.rows[C] = deployment(C, group="other")
    with pytest.raises(ProxyError, match="nothing was changed"):
        actuator(proxy).apply(to(0.0))
    assert proxy.changes == []


def test_taking_away_is_done_before_anything_is_said_about_the_rest(proxy):
    proxy.rows[P]["litellm_params"]["order"] = 1
    proxy.rows[C]["litellm_params"] |= {"order": 2, "weight": 500}
    with pytest.raises(ProxyError, match="different `order`"):
        actuator(proxy).apply(to(0.0))
    assert proxy.weights == {P: 10_000, C: 0}


def test_not_both_are_blocked(proxy):
    proxy.rows[P]["model_info"]["blocked"] = True
    with pytest.raises(ProxyError, match="production's deployment prod-1 is blocked"):
        actuator(proxy).apply(to(0.0))
    assert proxy.rows[C]["model_info"]["blocked"] is False


@pytest.mark.parametrize("missing", [P, C])
def test_a_deployment_that_is_not_there_is_named(proxy, missing):
    del proxy.rows[missing]
    with pytest.raises(ProxyError, match=f"no deployment {missing} "):
        actuator(proxy).apply(to(0.05))


# A proxy that does not comply


def test_a_proxy_that_keeps_the_old_weights_is_found_out(proxy):
    proxy.rows[P]["litellm_params"]["weight"] = 1
    proxy.keeps_weights = True
    acts = actuator(proxy)
    said = "was told 9500 and 500 as weights of production and candidate and shows 1 and none"
    for _ in range(3):
        with pytest.raises(ProxyError, match=said):
            acts.apply(to(0.05))
    assert len(proxy.changes) == 2, "it has its time to show them"
    acts._clock.now += 61
    with pytest.raises(ProxyError, match=said):
        acts.apply(to(0.05))
    assert len(proxy.changes) == 4
    proxy.keeps_weights = False
    acts._clock.now += 61
    acts.apply(to(0.05))


def test_another_instance_that_shows_the_old_weights_for_a_while_is_waited_for(proxy):
    acts = actuator(proxy)
    acts.apply(to(0.05))
    proxy.lag = 3
    with pytest.raises(ProxyError, match="shows 9500 and 500"):
        acts.apply(to(0.25))
    with pytest.raises(ProxyError):
        acts.apply(to(0.25))
    acts.apply(to(0.25))
    assert len(proxy.changes) == 4


def test_a_roll_back_does_not_wait_for_what_has_not_come_to_show(proxy):
    acts = actuator(proxy)
    proxy.keeps_weights = True
    with pytest.raises(ProxyError):
        acts.apply(to(0.05))
    proxy.keeps_weights = False
    acts.apply(to(0.0))
    assert proxy.picks() == {P: 2_000}


def test_an_older_proxy_that_cannot_block_is_found_out(proxy):
    proxy.knows_blocking = False
    for row in proxy.rows.values():
        del row["model_info"]["blocked"]
    with pytest.raises(ProxyError, match="its `blocked` is not what was written"):
        actuator(proxy).apply(to(0.0))
    assert proxy.weights == {P: 10_000, C: 0}
    actuator(proxy, block=False).apply(to(0.0))
    actuator(proxy).apply(to(0.05))


def test_a_key_that_may_not_block_is_told_what_to_do(proxy):
    proxy.administrator = False
    with pytest.raises(ProxyError, match=r"answered 403 \(Only proxy admins .*`block: false`"):
        actuator(proxy).apply(to(0.0))
    actuator(proxy, block=False).apply(to(0.0))
    actuator(proxy).apply(to(0.05))
    assert proxy.weights == {P: 9_500, C: 500}


def test_a_wrong_key_is_said_without_the_key(proxy, monkeypatch, caplog):
    monkeypatch.setenv("LITELLM_MASTER", "sk-something-else-5678")
    with pytest.raises(ProxyError) as failed:
        actuator(proxy).apply(to(0.05))
    assert "the proxy does not take the key in LITELLM_MASTER (401)" in str(failed.value)
    assert "sk-some" not in str(failed.value) + caplog.text


def test_without_a_key_the_variable_is_named(proxy, monkeypatch):
    monkeypatch.delenv("LITELLM_MASTER")
    with pytest.raises(ConfigurationError, match="LITELLM_MASTER is not set"):
        actuator(proxy).apply(to(0.0))


def models(**params):
    one = {"model_name": "chat", "litellm_params": params, "model_info": {"id": P}}
    return answering(200, json.dumps({"data": [one]}).encode())


NOT_MODELS = "/model/info answered something else than models"


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (answering(500, b'{"detail": {"error": "LLM Router is not loaded"}}'), r"500 \(LLM Router is not loaded\)"),
        (answering(503, f'{{"error": {{"message": "{KEY} failed"}}}}'.encode()), r"503 \(\*\*\* failed\)"),
        (answering(302, location="http://127.0.0.1:1/"), "answered 302"),
        (answering(200, b"<html>log in</html>"), NOT_MODELS),
        (answering(200, b"[1]"), NOT_MODELS),
        (answering(200, b'{"data": 5}'), NOT_MODELS),
        (answering(200, b'{"data": [null]}'), NOT_MODELS),
        (answering(200, b'{"data": [{"model_name": "x"}]}'), NOT_MODELS),
        (models(weight="a"), NOT_MODELS),
        (models(weight=[]), NOT_MODELS),
        (models(weight={}), NOT_MODELS),
        (answering(200, b'{"data": []}'), "no deployment prod-1"),
        (loopback.silent, "not reached: no answer within 0.8 s"),
        (loopback.dripping_body, "not reached: no answer within 0.8 s"),
        (loopback.closing, "not reached: the connection broke off"),
        (loopback.garbage, "not reached: no HTTP answer"),
    ],
)  # fmt: skip
def test_nothing_is_given_when_the_weights_cannot_be_read(proxy, reading, said):
    proxy.reading = reading
    with pytest.raises(ProxyError, match=said) as failed:
        actuator(proxy).apply(to(0.05))
    assert KEY not in str(failed.value)
    assert proxy.changes == []


@pytest.mark.parametrize(
    "reading", [answering(500), answering(200, b"<html>"), loopback.silent, loopback.closing, loopback.garbage]
)
def test_the_candidate_is_taken_away_when_the_weights_cannot_be_read(proxy, reading):
    acts = actuator(proxy)
    acts.apply(to(0.5))
    proxy.reading = reading
    begun = time.monotonic()
    with pytest.raises(ProxyError):
        acts.apply(to(0.0))
    assert time.monotonic() - begun < 2
    assert proxy.weights == {P: 10_000, C: 0}
    assert proxy.picks(resting=(P,)) == {}
    proxy.reading = None
    acts.apply(to(0.0))


@pytest.mark.parametrize("writing", [answering(500), loopback.silent, loopback.closing, loopback.garbage])
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_write_that_fails_is_an_error_and_is_made_up_for(proxy, writing, share):
    acts = actuator(proxy)
    acts.apply(to(0.05))
    proxy.writing = writing
    with pytest.raises(ProxyError):
        acts.apply(to(share))
    proxy.writing = None
    acts.apply(to(share))
    assert proxy.weights[C] == share * 10_000


def test_a_proxy_that_is_not_there_is_an_error(proxy):
    with pytest.raises(ProxyError, match="not reached: connection refused"):
        actuator(proxy, url="http://127.0.0.1:1").apply(to(0.0))
