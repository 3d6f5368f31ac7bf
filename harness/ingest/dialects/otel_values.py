"""Telemetry as exporters write it: typed attribute values, ids in two spellings, spans and logs in their envelopes."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping

from harness.domain.json import Json
from harness.ingest import values
from harness.ingest.dialects.calls import JsonObject

_HEX = re.compile(r"^(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{32})$")


def plain(value: Json) -> Json:
    """A typed value (``stringValue``, ``intValue``, ``kvlistValue``, ...) as the JSON it stands for."""
    if not isinstance(value, Mapping):
        return value
    for key, inner in value.items():
        match key:
            case "stringValue" | "string_value" | "boolValue" | "bool_value" | "bytesValue":
                return inner
            case "intValue" | "int_value":
                found = values.number(inner)
                return inner if found is None else int(inner) if isinstance(inner, str) else int(found)
            case "doubleValue" | "double_value":
                return values.number(inner)
            case "arrayValue" | "array_value":
                return [plain(item) for item in values.as_object(inner).get("values") or []]
            case "kvlistValue" | "kvlist_value":
                return attributes(values.as_object(inner).get("values"))
            case _:
                return dict(value)
    return None


def attributes(stored: Json) -> dict[str, Json]:
    """Attributes by name, from a list of typed pairs or from a plain object; objects nested by dots are flattened."""
    stored = values.decoded(stored)
    if isinstance(stored, list):
        return {
            str(pair["key"]): plain(pair.get("value")) for pair in stored if isinstance(pair, dict) and "key" in pair
        }
    if not isinstance(stored, dict):
        return {}
    return {
        key: plain(value) if isinstance(value, dict) and len(value) == 1 else value for key, value in stored.items()
    }


def identifier(stored: Json) -> str | None:
    """A trace or span id in hex, whether it came as hex or as base64."""
    found = values.label(stored)
    if found is None or _HEX.match(found):
        return found.lower() if found else None
    try:
        raw = base64.b64decode(found, validate=True)
    except (binascii.Error, ValueError):
        return found
    return raw.hex() if len(raw) in {8, 16} else found


def spans(record: JsonObject) -> Iterator[dict[str, Json]]:
    """Spans in an OTLP envelope, or the record itself when it is a flat span."""
    envelope = values.pick(record, "resourceSpans", "resource_spans")
    if envelope is None:
        yield dict(record)
        return
    yield from _inner(envelope, ("scopeSpans", "scope_spans", "instrumentationLibrarySpans"), ("spans",))


def logs(record: JsonObject) -> Iterator[dict[str, Json]]:
    """Log records in an OTLP envelope."""
    envelope = values.pick(record, "resourceLogs", "resource_logs")
    yield from _inner(envelope, ("scopeLogs", "scope_logs"), ("logRecords", "log_records"))


def _inner(envelope: Json, scopes: tuple[str, ...], items: tuple[str, ...]) -> Iterator[dict[str, Json]]:
    for resource in values.as_list(envelope):
        for scope in values.as_list(values.pick(values.as_object(resource), *scopes)):
            for item in values.as_list(values.pick(values.as_object(scope), *items)):
                if isinstance(item, dict):
                    yield item


def indexed(found: JsonObject, prefix: str) -> Json:
    """Attributes like ``prefix.0.role`` as lists and objects; ``None`` when there are none.

    Order of attributes means nothing, so places are sorted as numbers: 10 comes after 9.
    """
    tree: dict[str, Json] = {}
    start = prefix + "."
    for name, value in found.items():
        if not name.startswith(start):
            continue
        *path, last = name.removeprefix(start).split(".")
        node = tree
        for step in path:
            inner = node.setdefault(step, {})
            if not isinstance(inner, dict):
                break
            node = inner
        else:
            node[last] = value
    return _listed(tree) if tree else None


def _listed(node: Json) -> Json:
    if not isinstance(node, dict):
        return node
    listed = {key: _listed(value) for key, value in node.items()}
    if listed and all(key.isdigit() for key in listed):
        return [listed[key] for key in sorted(listed, key=int)]
    return listed
