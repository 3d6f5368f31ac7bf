"""Judges by name, found through entry points: built-ins register exactly as strangers do."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import orjson
from pydantic import TypeAdapter, ValidationError

from harness.config import JudgeSection, Model
from harness.domain.model import ModelSpec
from harness.errors import ConfigurationError
from harness.judging.protocol import Judge

GROUP = "harness.judges"
_MODEL_OPTIONS = ("params", "api_base", "api_key_env", "price")


def judge_names() -> tuple[str, ...]:
    """Names of all installed judges, sorted."""
    return tuple(sorted(_entry_points()))


@cache
def judge_class(name: str) -> type[Judge]:
    """The class registered under ``name``.

    Raises:
        ConfigurationError: it is not installed, two distributions claim the name, or it cannot be imported.
    """
    found = _entry_points()
    if name not in found:
        raise ConfigurationError(f"judge {name!r} is not installed; available: {', '.join(sorted(found)) or 'none'}")
    claims = found[name]
    if len({(_owner(claim), claim.value) for claim in claims}) > 1:
        owners = ", ".join(sorted(f"{_owner(claim)} ({claim.value})" for claim in claims))
        raise ConfigurationError(f"judge {name!r} is registered twice, by {owners}; uninstall one")
    try:
        loaded = claims[0].load()
    except Exception as error:  # importing a plug-in runs anybody's code
        raise ConfigurationError(f"judge {name!r} of {_owner(claims[0])} cannot be imported: {error}") from error
    problem = _why_no_judge(loaded)
    if problem:
        raise ConfigurationError(f"judge {name!r} of {_owner(claims[0])} {problem}")
    judge: type[Judge] = loaded
    return judge


def build_judge(section: JudgeSection) -> Judge:
    """The judge a section of the experiment asks for, its options checked against the fields of its class.

    A field of type ModelSpec takes a model name, or a mapping as candidates have it; a judge whose field is called
    ``model`` also takes the model's ``params``, ``api_base``, ``api_key_env`` and ``price`` beside it.

    Raises:
        ConfigurationError: unknown judge, unknown, missing or ill-typed option.
    """
    cls = judge_class(section.use)
    label = f"judge {section.label!r}"
    known = {item.name: item for item in fields(cls) if item.init}  # type: ignore[arg-type]
    options = _gathered(section.options, known)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigurationError(
            f"{label} has no option {', '.join(map(repr, unknown))}; options: {', '.join(sorted(known)) or 'none'}"
        )
    missing = [
        name
        for name, item in known.items()
        if name not in options and item.default is MISSING and item.default_factory is MISSING
    ]
    if missing:
        raise ConfigurationError(f"{label} needs the option {', '.join(map(repr, missing))}")
    hints = get_type_hints(cls, include_extras=True)
    values = {name: _value(label, name, hints[name], value) for name, value in options.items()}
    try:
        return cls(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{label}: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{label}: {error}") from error


def _entry_points() -> Mapping[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown distribution"


def _why_no_judge(loaded: object) -> str | None:
    if not (isinstance(loaded, type) and is_dataclass(loaded)):
        return "is not a dataclass"
    lacking = [name for name in ("name", "version", "metric", "judge") if not hasattr(loaded, name)]
    return f"has no {', '.join(lacking)}" if lacking else None


def _gathered(options: Mapping[str, Any], known: Mapping[str, Field[Any]]) -> dict[str, Any]:
    """Options with the model's own settings moved into ``model``."""
    beside = {key: options[key] for key in _MODEL_OPTIONS if key in options and key not in known}
    if "model" not in known or not beside or not isinstance(options.get("model"), str):
        return dict(options)
    rest = {key: value for key, value in options.items() if key not in beside}
    return rest | {"model": {"model": options["model"], **beside}}


def _value(label: str, name: str, hint: Any, value: Any) -> Any:
    try:
        if value is None and _takes_none(hint):
            return None
        if _is_model(hint):
            section = Model.model_validate({"model": value} if isinstance(value, str) else value)
            return section.spec()
        # Read as JSON so that nothing is coerced, and yet lists become tuples and names become enums.
        return TypeAdapter(hint).validate_json(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS), strict=True)
    except ValidationError as error:
        problems = "; ".join(
            ".".join([name, *(str(part) for part in item["loc"])]) + ": " + item["msg"].removeprefix("Value error, ")
            for item in error.errors()
        )
        raise ConfigurationError(f"{label}: option {problems}") from None
    except orjson.JSONEncodeError as error:
        raise ConfigurationError(f"{label}: option {name}: {error}") from None


def _arms(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _takes_none(hint: Any) -> bool:
    return NoneType in _arms(hint)


def _is_model(hint: Any) -> bool:
    return ModelSpec in _arms(hint)
