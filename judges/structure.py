"""Whether the candidate's answer has the form that was asked for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

import orjson

from harness.domain.estimate import Metric
from harness.domain.judgment import Judgment, UnscoredReason
from harness.domain.metrics import STRUCTURE
from harness.domain.observation import Completion, ToolCall
from harness.domain.pair import Pair
from harness.judging import answers
from harness.judging.protocol import JudgeContext

_SHOWN = 5
"""Differences kept per side."""
_LONG = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class _Check:
    """One requirement held against both answers."""

    what: str
    candidate: bool
    production: bool
    differences: Sequence[str] = field(default=())


@dataclass(frozen=True, kw_only=True)
class StructureJudge:
    """1.0 when the candidate's answer has the form that was asked for, else 0.0; production's own is in ``details``.

    The form is, in this order: the tools production called with the same arguments, in any order; the JSON schema or
    the JSON object of the request's ``response_format``; the keys of production's answer when that is JSON unasked.
    """

    name: ClassVar[str] = "structure"
    version: ClassVar[str] = "1"
    metric: ClassVar[Metric] = STRUCTURE

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment; NOT_APPLICABLE when nothing was asked for, or with a schema that is itself invalid."""
        production, candidate = pair.production.completion, pair.candidate.completion
        if not pair.is_comparable or production is None or candidate is None:
            return [ctx.unscored(pair, UnscoredReason.NOT_COMPARABLE)]
        response_format = pair.request.params.get("response_format")
        try:
            check = _check(production, candidate, response_format)
        except _UnusableSchemaError as error:
            return [ctx.unscored(pair, UnscoredReason.NOT_APPLICABLE, explanation=str(error))]
        if check is None:
            return [ctx.unscored(pair, UnscoredReason.NOT_APPLICABLE, explanation="no structure was asked for")]
        details = {
            "check": check.what,
            "production_valid": check.production,
            "differences": [text[:_LONG] for text in check.differences[:_SHOWN]],
        }
        return [ctx.scored(pair, value=float(check.candidate), details=details)]


class _UnusableSchemaError(ValueError):
    """The request's schema is no JSON schema."""


def _check(production: Completion, candidate: Completion, response_format: Any) -> _Check | None:
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if production.tool_calls:
        return _same_tools(production.tool_calls, candidate.tool_calls)
    if kind == "json_schema":
        described = response_format.get("json_schema")
        schema = described.get("schema") if isinstance(described, Mapping) else None
        return _fits(production, candidate, schema)
    if kind == "json_object":
        left, right = _object_faults(production), _object_faults(candidate)
        return _Check(what="json_object", candidate=not right, production=not left, differences=right)
    return _same_keys(production, candidate)


def _same_tools(production: Sequence[ToolCall], candidate: Sequence[ToolCall]) -> _Check:
    wanted = Counter(answers.call_key(call) for call in production)
    given = Counter(answers.call_key(call) for call in candidate)
    missing = [f"missing: {_shown(call)}" for call in _leftover(production, wanted - given)]
    extra = [f"extra: {_shown(call)}" for call in _leftover(candidate, given - wanted)]
    return _Check(what="tool_calls", candidate=wanted == given, production=True, differences=missing + extra)


def _leftover(calls: Sequence[ToolCall], surplus: Counter[Any]) -> list[ToolCall]:
    found = []
    for call in calls:
        key = answers.call_key(call)
        if surplus[key] > 0:
            surplus[key] -= 1
            found.append(call)
    return found


def _shown(call: ToolCall) -> str:
    arguments = call.arguments
    return f"{call.name}({arguments if isinstance(arguments, str) else orjson.dumps(arguments, default=str).decode()})"


def _object_faults(completion: Completion) -> list[str]:
    try:
        value = answers.parse(completion.text)
    except answers.NotJson as error:
        return [_no_json(completion, str(error))]
    return [] if isinstance(value, dict) else [f"is JSON, but {type(value).__name__} instead of an object"]


def _no_json(completion: Completion, error: str) -> str:
    return "called a tool instead of answering" if completion.tool_calls else f"is not JSON: {error}"


def _fits(production: Completion, candidate: Completion, schema: Any) -> _Check:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    if not isinstance(schema, dict):
        raise _UnusableSchemaError("the request's response_format has no schema")
    cls = validator_for(schema, default=Draft202012Validator)
    try:
        cls.check_schema(schema)
    except (SchemaError, RecursionError) as error:
        raise _UnusableSchemaError(f"the request's schema is invalid: {str(error).splitlines()[0]}") from None
    # An empty registry: a schema out of recorded traffic must not make us fetch the addresses it refers to.
    validator = cls(schema, registry=Registry())
    left, right = _schema_faults(production, validator), _schema_faults(candidate, validator)
    return _Check(what="json_schema", candidate=not right, production=not left, differences=right)


def _schema_faults(completion: Completion, validator: Any) -> list[str]:
    from referencing.exceptions import Unresolvable

    try:
        value = answers.parse(completion.text)
        return [f"{error.json_path}: {error.message}" for error in islice(validator.iter_errors(value), _SHOWN)]
    except answers.NotJson as error:
        return [_no_json(completion, str(error))]
    except Unresolvable as error:
        raise _UnusableSchemaError(f"the request's schema refers to {error.ref!r}, which it does not hold") from None
    except RecursionError:
        raise _UnusableSchemaError("the request's schema refers to itself without end") from None


def _same_keys(production: Completion, candidate: Completion) -> _Check | None:
    """For production's JSON answers that nobody demanded: whoever reads them needs the same keys."""
    text = production.text or ""
    if text.lstrip()[:1] not in {"{", "["}:
        return None
    try:
        wanted = answers.parse(text)
    except answers.NotJson:
        return None
    try:
        given = answers.parse(candidate.text)
    except answers.NotJson as error:
        faults = [_no_json(candidate, str(error))]
    else:
        faults = _key_faults(wanted, given)
    return _Check(what="same_keys", candidate=not faults, production=True, differences=faults)


def _key_faults(wanted: Any, given: Any) -> list[str]:
    if type(wanted) is not type(given):
        return [f"is {type(given).__name__} instead of {type(wanted).__name__}"]
    left, right = _keys(wanted), _keys(given)
    return [f"missing key: {key}" for key in sorted(left - right)] + [
        f"extra key: {key}" for key in sorted(right - left)
    ]


def _keys(value: Any) -> set[str]:
    """Keys of an object; of a list, those of all the objects in it."""
    if isinstance(value, dict):
        return set(value)
    return {key for item in value if isinstance(item, dict) for key in item}
