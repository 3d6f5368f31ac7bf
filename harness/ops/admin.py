"""The port for people and their tools: health, metrics, status, and changes for whoever holds the token."""

import asyncio
import hmac
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.errors import HarnessError, InputError
from harness.ops import metrics
from harness.ops.metrics import Histogram, Reading

_log = logging.getLogger("harness.ops")

BODY_LIMIT = 16 << 10
_TEXT = 2_000
"""Characters of a name or reason."""
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, kw_only=True)
class Operated:
    """What a process offers to be looked at and changed."""

    name: str
    """``gateway``, ``worker`` or ``rollout``."""
    not_ready: Callable[[], Sequence[str]]
    """Why it is not ready; empty when it is."""
    readings: Callable[[], Sequence[Reading | Histogram]]
    status: Callable[[], Mapping[str, Any]]
    token: str | None
    """What a change has to show; changes are refused when there is none."""
    set_mirror: Callable[[bool], None] | None = None
    """The kill switch, of processes that have one."""
    rollout: "RolloutDesk | None" = None
    """What people may do to a rollout, of the process that controls it."""


@dataclass(frozen=True, kw_only=True)
class RolloutDesk:
    """A rollout for whoever asks over HTTP.

    All of them may raise: InputError where the rollout does not allow it now, InfrastructureError without its store.
    """

    state: Callable[[], Mapping[str, Any]]
    history: Callable[[], Sequence[Mapping[str, Any]]]
    changes: Mapping[str, Callable[[str, str], Mapping[str, Any]]]
    """By name: what somebody does, for a reason. For ``severe`` the first argument names the event."""


def token_from(variable: str) -> str | None:
    """The token in an environment variable; ``None`` when it is not set or empty."""
    return os.environ.get(variable) or None


def admin_app(operated: Operated) -> ASGIApp:
    """The application of the admin port. Its schema is at ``/openapi.json``."""

    # These two look at no file and run in no thread: others that wait for a disk cannot hold them up.
    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        reasons = list(operated.not_ready())
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    def read_metrics(_: Request) -> Response:
        return Response(metrics.render(operated.readings()), media_type=metrics.CONTENT_TYPE)

    def status(_: Request) -> Response:
        return JSONResponse(json.loads(json.dumps(operated.status(), default=str)))

    def schema(_: Request) -> Response:
        return JSONResponse(_schema(operated))

    return Starlette(
        routes=[
            Route("/healthz", health),
            Route("/readyz", ready),
            Route("/metrics", read_metrics),
            Route("/status", status),
            Route("/openapi.json", schema),
            *_mirror_routes(operated),
            *_rollout_routes(operated),
        ],
        middleware=[Middleware(_Bounded)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


def _mirror_routes(operated: Operated) -> list[Route]:
    switch = operated.set_mirror
    if switch is None:
        return []

    async def mirror(request: Request) -> Response:
        _allow(request, operated.token)
        wanted = await _flag(request, "enabled")
        # It writes a file: what waits for a disk must not hold up those who ask whether we live.
        await asyncio.to_thread(switch, wanted)
        return JSONResponse({"enabled": wanted})

    return [Route("/mirror", mirror, methods=["PUT"])]


def _rollout_routes(operated: Operated) -> list[Route]:
    desk = operated.rollout
    if desk is None:
        return []

    def state(_: Request) -> Response:
        return _told(desk.state)

    def history(_: Request) -> Response:
        return _told(lambda: {"events": list(desk.history())})

    async def change(request: Request) -> Response:
        _allow(request, operated.token)
        do = desk.changes[request.path_params["change"]]
        texts = await _texts(request, ("by", "reason"))
        return await asyncio.to_thread(_told, lambda: do(texts["by"], texts["reason"]))

    def routed(name: str) -> Route:
        async def one(request: Request) -> Response:
            request.path_params["change"] = name
            return await change(request)

        return Route(f"/rollout/{name}", one, methods=["POST"])

    return [Route("/rollout", state), Route("/rollout/history", history), *map(routed, desk.changes)]


def _told(ask: Callable[[], Mapping[str, Any]]) -> Response:
    try:
        return JSONResponse(json.loads(json.dumps(ask(), default=str)))
    except InputError as error:
        raise HTTPException(409, str(error)) from None
    except HarnessError as error:
        raise HTTPException(503, str(error)) from None


class _Bounded:
    """Refuses large bodies while they come in, and puts the same headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > BODY_LIMIT:
                raise HTTPException(413, f"a request may have at most {BODY_LIMIT:,} bytes")
            return message

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        await self._app(scope, bounded, dressed)


def _allow(request: Request, token: str | None) -> None:
    if token is None:
        raise HTTPException(403, "changes are off: set the admin token's environment variable and start again")
    given = request.headers.get("authorization", "")
    scheme, _, value = given.partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(value.strip().encode("latin-1"), token.encode()):
        raise HTTPException(401, "an `Authorization: Bearer` header with the admin token is needed")


async def _flag(request: Request, name: str) -> bool:
    body = await _object(request)
    if not isinstance(body, dict) or set(body) != {name} or not isinstance(body[name], bool):
        raise HTTPException(422, f'the body has to be {{"{name}": true}} or {{"{name}": false}}')
    return bool(body[name])


async def _texts(request: Request, names: Sequence[str]) -> dict[str, str]:
    body = await _object(request)
    fits = isinstance(body, dict) and set(body) == set(names)
    if not fits or not all(isinstance(body[name], str) and 0 < len(body[name].strip()) <= _TEXT for name in names):
        shape = ", ".join(f'"{name}": "..."' for name in names)
        raise HTTPException(422, f"the body has to be {{{shape}}}, each of 1 to {_TEXT:,} characters")
    return {name: body[name] for name in names}


async def _object(request: Request) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A page in somebody's browser can post forms here, but no JSON.
        raise HTTPException(415, "a body of type application/json is needed")
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not valid JSON") from None


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for nothing else
    headers = dict(error.headers or {})
    if error.status_code == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=headers)


def _failed(_: Request, error: Exception) -> Response:
    _log.error("the admin port could not answer", exc_info=error)
    return JSONResponse({"error": f"internal error ({type(error).__name__})"}, status_code=500, headers=_HEADERS)


def _schema(operated: Operated) -> dict[str, Any]:
    readiness = _json_of({"ready": {"type": "boolean"}, "reasons": {"type": "array", "items": {"type": "string"}}})
    plain = {"text/plain": {"schema": {"type": "string"}}}
    gets = {
        "/healthz": (
            "Whether the process lives", {"200": _answer("It does", _json_of({"status": {"type": "string"}}))},
        ),
        "/readyz": (
            "Whether it does its work",
            {"200": _answer("It does", readiness), "503": _answer("It does not", readiness)},
        ),
        "/metrics": ("Prometheus metrics", {"200": _answer("Metrics", plain)}),
        "/status": ("State and counts", {"200": _answer("State", _ANYTHING)}),
        "/openapi.json": ("This schema", {"200": _answer("Schema", _ANYTHING)}),
    }  # fmt: skip
    if operated.rollout is not None:
        refusals = {"409": _answer("There is none", _ERROR), "503": _answer("The store is away", _ERROR)}
        gets["/rollout"] = ("Where the rollout stands", {"200": _answer("State", _ANYTHING), **refusals})
        gets["/rollout/history"] = ("Its events", {"200": _answer("Events", _ANYTHING), **refusals})
    paths: dict[str, Any] = {
        path: {"get": {"summary": summary, "responses": responses}} for path, (summary, responses) in gets.items()
    }
    if operated.set_mirror is not None:
        enabled = {
            "type": "object", "properties": {"enabled": {"type": "boolean"}}, "required": ["enabled"],
            "additionalProperties": False,
        }  # fmt: skip
        paths["/mirror"] = {
            "put": _change(
                "switchMirror", "Turn mirroring on or off; effective within a second in every process", enabled, enabled
            )
        }
    if operated.rollout is not None:
        text = {"type": "string", "minLength": 1, "maxLength": _TEXT, "pattern": r"\S"}
        said = {
            "type": "object", "properties": {"by": text, "reason": text}, "required": ["by", "reason"],
            "additionalProperties": False,
        }  # fmt: skip
        refusals = {"409": _answer("The rollout does not allow it", _ERROR), "503": _answer("No store", _ERROR)}
        for name in operated.rollout.changes:
            change = _change(f"{name}Rollout", _CHANGES.get(name, name), said, {"type": "object"})
            change["responses"] |= refusals
            paths[f"/rollout/{name}"] = {"post": change}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Shadow Harness {operated.name} administration", "version": "1"},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


_CHANGES: Mapping[str, str] = {
    "approve": "Agree to the next phase",
    "pause": "Stop the clock; users are served as they were",
    "resume": "Go on in the phase",
    "abort": "End it: production serves everybody",
    "severe": "Report an event that ends it by itself, such as a leak; `by` names the event",
}


def _answer(description: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description, **({"content": content} if content else {})}


def _json_of(properties: dict[str, Any]) -> dict[str, Any]:
    shape = {"type": "object", "properties": properties, "required": list(properties)}
    return {"application/json": {"schema": shape}}


_ERROR = _json_of({"error": {"type": "string"}})
_ANYTHING: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}


def _change(name: str, summary: str, wanted: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    refusals = {
        "400": "Not valid JSON", "401": "No or the wrong token", "403": "Changes are off",
        "413": "Too large", "415": "Not JSON", "422": "Not the shape that is asked for",
    }  # fmt: skip
    return {
        "operationId": name,
        "summary": summary,
        "security": [{"token": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": wanted}}},
        "responses": {
            "200": _answer("Done", {"application/json": {"schema": given}}),
            **{code: _answer(text, _ERROR) for code, text in refusals.items()},
        },
    }
