"""Gives the candidate its share in a LiteLLM proxy: by the weights of two deployments of one model group.

What the proxy does with them, as of LiteLLM 1.106 (`router_strategy/simple_shuffle.py`, `proxy/management_endpoints`):

* A request goes to one of the deployments that are not resting after failures and not blocked, in proportion to
  `litellm_params.weight`; one without a weight has 0. When none of those has a weight above 0, any of them is taken, so
  a weight of 0 keeps requests away only while production's deployment is there. Blocked ones are never taken.
* `PATCH /model/{id}/update` changes the fields that are given, and puts switches that are not given to their default
  where that is off: those are sent as they are, or as null, which leaves them. The deployment has to be in the proxy's
  database, not in its file. `blocked` may be changed by administrators alone.
* The instance that is asked uses new weights at once, others when they next read the database, by default within 30 s.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from harness.config.rollout import LiteLLMActuator
from harness.controller import calls, saying
from harness.errors import ConfigurationError, HarnessError

WHOLE = 10_000
"""What the weights of both add up to."""
_SWITCHES = (
    "allow_client_keepalive_override", "merge_reasoning_content_in_choices", "use_in_pass_through",
    "use_litellm_proxy", "use_xai_oauth",
)  # fmt: skip
"""Parameters that a change of any other would switch off."""
_INFO_BYTES = 64 << 20
_REPLY_BYTES = 1 << 20


class ProxyError(HarnessError):
    """The proxy does not do what the rollout says, or could not be asked."""


class _UnreadError(ProxyError):
    """The proxy did not say what its weights are."""


class _Share(Protocol):
    @property
    def share(self) -> float: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """What decides how many of a model group's requests each of two deployments gets."""

    production: int | float | None
    candidate: int | float | None
    """``None`` where there is none, which counts as 0."""
    blocked: bool = False
    """Whether the candidate's deployment gets nothing, whatever its weight."""

    @property
    def share(self) -> float:
        """The candidate's, while production is there; what two weights of 0 do is not to be relied on."""
        mine, others = self.candidate or 0.0, self.production or 0.0
        if self.blocked:
            return 0.0
        return mine / (mine + others) if mine + others else 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What the proxy says."""

    weights: Weights
    production: "_Deployment"
    candidate: "_Deployment"
    obstacle: str | None
    """Why these two weights do not decide who serves whom."""


class LiteLLMWeights:
    """The actuator of a LiteLLM proxy.

    It does not wait for the proxy: what was written and does not show yet is an error until it does, and is written
    again when it has not come to show within ``settle_s``.
    """

    def __init__(self, section: LiteLLMActuator, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = section.label
        self._section = section
        self._clock = clock
        self._written: tuple[Weights, float] | None = None
        """What was written last, completely, and when."""

    def apply(self, route: _Share) -> None:
        """Have the proxy give the candidate this share.

        Raises:
            ProxyError: the proxy cannot be asked, refuses, or does not show what was written.
            ConfigurationError: the environment does not hold the key.
        """
        want = weights_for(route.share, block=self._section.block)
        try:
            found = self._read()
        except _UnreadError:
            if route.share > 0:
                raise
            # Taking the candidate away does not wait for being able to read.
            self._write(None, want)
            raise
        if found.obstacle is not None and route.share > 0:
            raise ProxyError(found.obstacle)
        if found.production.blocked and want.blocked:
            # With both blocked nobody would be answered at all.
            want = replace(want, blocked=False)
        if found.weights != want:
            if self._settles(want):
                raise self._not_shown(found.weights, want)
            self._write(found, want)
            found = self._read()
        if found.weights != want:
            raise self._not_shown(found.weights, want)
        if found.obstacle is not None:
            raise ProxyError(found.obstacle)

    def _settles(self, want: Weights) -> bool:
        if self._written is None:
            return False
        weights, at = self._written
        return weights == want and self._clock() - at < self._section.settle_s

    def _not_shown(self, found: Weights, want: Weights) -> ProxyError:
        blocked = "" if found.blocked == want.blocked else ", and its `blocked` is not what was written"
        return ProxyError(
            f"the proxy was told {_said(want)} as weights of production and candidate and shows {_said(found)}{blocked}"
        )

    # Writing

    def _write(self, found: _Found | None, want: Weights) -> None:
        self._written = None
        before = None if found is None else found.weights
        for step in steps(before, want):
            if step == "candidate":
                # Where it stays as it is nothing is said about blocking, since only administrators may.
                says = self._section.block and (before is None or before.blocked != want.blocked)
                known = None if found is None else found.candidate
                self._patch(self._section.candidate_id, want.candidate, known, want.blocked if says else None)
            else:
                known = None if found is None else found.production
                self._patch(self._section.production_id, want.production, known, None)
        self._written = (want, self._clock())

    def _patch(self, model_id: str, weight: float | None, known: "_Deployment | None", blocked: bool | None) -> None:
        switched_on = () if known is None else known.switched_on
        body: dict[str, Any] = {
            "litellm_params": {**dict.fromkeys(_SWITCHES), **dict.fromkeys(switched_on, True), "weight": weight}
        }
        if blocked is not None:
            body["blocked"] = blocked
        reply = self._call("PATCH", f"/model/{quote(model_id, safe='')}/update", body, max_bytes=_REPLY_BYTES)
        if not reply.ok:
            hint = ""
            if reply.status == 403 and blocked is not None:
                hint = "; blocking needs an administrator's key, or `block: false`"
            raise ProxyError(f"the weight of {model_id} was not changed: {self._refusal(reply)}{hint}")

    # Reading

    def _read(self) -> _Found:
        reply = self._call("GET", "/model/info", None, max_bytes=_INFO_BYTES)
        if not reply.ok:
            raise _UnreadError(f"the weights were not read: {self._refusal(reply)}")
        try:
            deployments = [_Deployment.of(item) for item in orjson.loads(reply.body)["data"]]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise _UnreadError("the weights were not read: /model/info answered something else than models") from None
        known: dict[str, _Deployment] = {}
        for one in deployments:
            # Aliases of a group come after it, with the same ids.
            known.setdefault(one.id, one)
        section = self._section
        for what, id_ in (("production", section.production_id), ("candidate", section.candidate_id)):
            if id_ not in known:
                raise ProxyError(f"the proxy has no deployment {id_} ({what}), or the key may not see it")
        production, candidate = known[section.production_id], known[section.candidate_id]
        if production.group != candidate.group:
            raise ProxyError(
                f"{production.id} is of model group {production.group!r} and {candidate.id} of {candidate.group!r}: "
                "weights share out the requests of one group, and nothing was changed"
            )
        return _Found(
            weights=Weights(
                production=production.weight,
                candidate=candidate.weight,
                # Whoever does not set it does not look at it: people may.
                blocked=candidate.blocked and section.block,
            ),
            production=production,
            candidate=candidate,
            obstacle=_obstacle(production, candidate, known, block=section.block),
        )

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None, *, max_bytes: int) -> calls.Reply:
        headers = {"Authorization": f"Bearer {self._key()}", "Content-Type": "application/json"}
        try:
            reply = calls.call(
                method, self._section.url + path, headers=headers, timeout_s=self._section.timeout_s,
                body=None if body is None else orjson.dumps(body), max_bytes=max_bytes,
            )  # fmt: skip
        except calls.CallError as error:
            raise _UnreadError(f"the proxy was not reached: {error}") from None
        if reply.cut:
            raise _UnreadError("the proxy's answer is too large to be read")
        return reply

    def _key(self) -> str:
        key = os.environ.get(self._section.key_env, "").strip()
        if not key:
            raise ConfigurationError(f"{self._section.key_env} is not set; it holds the key of the LiteLLM proxy")
        return key

    def _refusal(self, reply: calls.Reply) -> str:
        """The status, and what the proxy says to it where that cannot hold the key."""
        if reply.status == 401:
            return f"the proxy does not take the key in {self._section.key_env} (401)"
        said = saying.last_line(_message(reply.body), secrets=(self._key(),))
        return f"the proxy answered {reply.status}" + (f" ({said})" if said else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Deployment:
    id: str
    group: str
    weight: float | None
    order: float | None
    blocked: bool
    stored: bool
    """Whether it is in the database, and not in the proxy's file."""
    switched_on: tuple[str, ...]

    @staticmethod
    def of(item: Mapping[str, Any]) -> "_Deployment":
        params, info = item["litellm_params"], item["model_info"]
        return _Deployment(
            id=str(info["id"]),
            group=str(item["model_name"]),
            weight=_number(params.get("weight")),
            order=_number(params.get("order")),
            blocked=info.get("blocked") is True,
            stored=info.get("db_model") is not False,
            switched_on=tuple(name for name, value in params.items() if value is True),
        )


def weights_for(share: float, *, block: bool) -> Weights:
    """The weights that give the candidate this share; no share above 0 and below 1 is rounded to either."""
    if not 0 <= share <= 1:
        raise ConfigurationError(f"a share is between 0 and 1, not {share:g}")
    mine = round(share * WHOLE)
    mine = min(max(mine, 1), WHOLE - 1) if 0 < share < 1 else mine
    return Weights(production=WHOLE - mine, candidate=mine, blocked=block and share == 0)


def steps(found: Weights | None, want: Weights) -> tuple[str, ...]:
    """What has to be written, in the order in which the candidate gets the least meanwhile."""
    changes = tuple(
        name for name, changed in (
            ("candidate", found is None or (found.candidate, found.blocked) != (want.candidate, want.blocked)),
            ("production", found is None or found.production != want.production),
        ) if changed
    )  # fmt: skip
    if found is None:
        return changes
    candidate_first = Weights(production=found.production, candidate=want.candidate, blocked=want.blocked)
    production_first = Weights(production=want.production, candidate=found.candidate, blocked=found.blocked)
    return changes if candidate_first.share <= production_first.share else changes[::-1]


def _obstacle(
    production: _Deployment, candidate: _Deployment, known: Mapping[str, _Deployment], *, block: bool
) -> str | None:
    if outside := [one.id for one in (production, candidate) if not one.stored]:
        return f"{', '.join(outside)}: in the proxy's file, and only what is in its database can be changed"
    others = [one for one in known.values() if one.group == production.group and one not in (production, candidate)]
    if heavy := [one.id for one in others if one.weight and not one.blocked]:
        return f"model group {production.group!r} has other deployments with a weight: {', '.join(sorted(heavy))}"
    if production.order != candidate.order:
        return "the two have different `order`, so that the proxy asks one of them alone"
    if production.blocked:
        return f"production's deployment {production.id} is blocked in the proxy"
    if candidate.blocked and not block:
        return f"the candidate's deployment {candidate.id} is blocked in the proxy"
    return None


def _number(value: object) -> float | None:
    return None if value is None or value == "None" else float(value)  # type: ignore[arg-type]


def _said(weights: Weights) -> str:
    return " and ".join("none" if one is None else f"{one:g}" for one in (weights.production, weights.candidate))


def _message(body: bytes) -> str:
    """LiteLLM puts it under `error.message`, or `detail.error`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    for path in (("error", "message"), ("detail", "error"), ("error",), ("detail",)):
        inner = found
        for name in path:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if isinstance(inner, str):
            return inner
    return ""
