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

from harness.ops import metrics
from harness.ops.metrics import Histogram, Reading

_log = logging.getLogger("harness.ops")

BODY_LIMIT = 16 << 10
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, kw_only=True)
class Operated:
    """What a process offers to be looked at and changed."""

    name: str
    """``gateway`` or ``worker``."""
    not_ready: Callable[[], Sequence[str]]
    """Why it is not ready; empty when it is."""
    readings: Callable[[], Sequence[Reading | Histogram]]
    status: Callable[[], Mapping[str, Any]]
    set_mirror: Callable[[bool], None]
    """The kill switch."""
    token: str | None
    """What a change has to show; changes are refused when there is none."""


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

    async def mirror(request: Request) -> Response:
        _allow(request, operated.token)
        wanted = await _flag(request, "enabled")
        # It writes a file: what waits for a disk must not hold up those who ask whether we live.
        await asyncio.to_thread(operated.set_mirror, wanted)
        return JSONResponse({"enabled": wanted})

    def schema(_: Request) -> Response:
        return JSONResponse(_schema(operated.name))

    return Starlette(
        routes=[
            Route("/healthz", health),
            Route("/readyz", ready),
            Route("/metrics", read_metrics),
            Route("/status", status),
            Route("/mirror", mirror, methods=["PUT"]),
            Route("/openapi.json", schema),
        ],
        middleware=[Middleware(_Bounded)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


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
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A page in somebody's browser can post forms here, but no JSON.
        raise HTTPException(415, "a body of type application/json is needed")
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not valid JSON") from None
    if not isinstance(body, dict) or set(body) != {name} or not isinstance(body[name], bool):
        raise HTTPException(422, f'the body has to be {{"{name}": true}} or {{"{name}": false}}')
    return bool(body[name])


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for nothing else
    headers = dict(error.headers or {})
    if error.status_code == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=headers)


def _failed(_: Request, error: Exception) -> Response:
    _log.error("the admin port could not answer", exc_info=error)
    return JSONResponse({"error": f"internal error ({type(error).__name__})"}, status_code=500, headers=_HEADERS)


def _schema(name: str) -> dict[str, Any]:
    def answer(description: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"description": description, **({"content": content} if content else {})}

    def json_of(properties: dict[str, Any]) -> dict[str, Any]:
        shape = {"type": "object", "properties": properties, "required": list(properties)}
        return {"application/json": {"schema": shape}}

    error = json_of({"error": {"type": "string"}})
    readiness = json_of({"ready": {"type": "boolean"}, "reasons": {"type": "array", "items": {"type": "string"}}})
    enabled = {
        "type": "object", "properties": {"enabled": {"type": "boolean"}}, "required": ["enabled"],
        "additionalProperties": False,
    }  # fmt: skip
    change = {
        "operationId": "switchMirror",
        "summary": "Turn mirroring on or off; effective within a second in every process",
        "security": [{"token": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": enabled}}},
        "responses": {
            "200": answer("Done", {"application/json": {"schema": enabled}}),
            **{
                code: answer(text, error)
                for code, text in {
                    "400": "Not valid JSON", "401": "No or the wrong token", "403": "Changes are off",
                    "413": "Too large", "415": "Not JSON", "422": "Not the shape that is asked for",
                }.items()
            },
        },
    }  # fmt: skip
    anything = {"application/json": {"schema": {"type": "object"}}}
    plain = {"text/plain": {"schema": {"type": "string"}}}
    gets = {
        "/healthz": ("Whether the process lives", {"200": answer("It does", json_of({"status": {"type": "string"}}))}),
        "/readyz": (
            "Whether it does its work", {"200": answer("It does", readiness), "503": answer("It does not", readiness)},
        ),
        "/metrics": ("Prometheus metrics", {"200": answer("Metrics", plain)}),
        "/status": ("State and counts", {"200": answer("State", anything)}),
        "/openapi.json": ("This schema", {"200": answer("Schema", anything)}),
    }  # fmt: skip
    paths: dict[str, Any] = {
        path: {"get": {"summary": summary, "responses": responses}} for path, (summary, responses) in gets.items()
    }
    paths["/mirror"] = {"put": change}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Shadow Harness {name} administration", "version": "1"},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }
