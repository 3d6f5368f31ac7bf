"""A LiteLLM proxy on loopback, as far as weights go: its own models of a change, and its own choice of a deployment."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from litellm.router_strategy.simple_shuffle import simple_shuffle
from litellm.types.router import LiteLLM_Params, updateDeployment

from tests.integration.controller.loopback import Asked, Loopback, Respond, answering, serving

KEY = "sk-admin-of-the-proxy-1234"


def deployment(id_: str, weight: int | None = None, *, group: str = "chat", **more: Any) -> dict[str, Any]:
    params = {"model": f"openai/{id_}", "api_base": "http://model"} | more.pop("params", {})
    if weight is not None:
        params["weight"] = weight
    return {
        "model_name": group,
        "litellm_params": params,
        "model_info": {"id": id_, "db_model": True, "blocked": False} | more,
    }


class Proxy:
    """Deployments, and how the proxy misbehaves."""

    def __init__(self, *deployments: dict[str, Any]) -> None:
        self.rows = {one["model_info"]["id"]: one for one in deployments}
        self.administrator = True
        self.keeps_weights = False
        """Says yes to a change, and does not make it."""
        self.knows_blocking = True
        self.forgets: tuple[str, ...] = ()
        """Further parameters that a change switches off which does not mention them, as a later version may have."""
        self.lag = 0
        """Reads that still show what was before a change, as another instance does."""
        self.reading: Respond | None = None
        self.writing: Respond | None = None
        self._shown: list[str] = []
        self.server: Loopback | None = None

    # What it is asked

    def respond(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        misbehaves = self.reading if asked.method == "GET" else self.writing
        if misbehaves is not None:
            misbehaves(handler, asked)
        elif asked.headers.get("authorization") != f"Bearer {KEY}":
            given = asked.headers.get("authorization", "")
            _refuse(
                handler, 401, f"Authentication Error, Invalid proxy server token passed. Received API Key = {given}"
            )
        elif asked.method == "GET" and asked.path == "/model/info":
            self._show(handler)
        elif asked.method == "PATCH" and asked.path.startswith("/model/") and asked.path.endswith("/update"):
            self._change(handler, unquote(asked.path.split("/")[2]), asked.body)
        else:
            _refuse(handler, 404, "Not Found")

    def _show(self, handler: BaseHTTPRequestHandler) -> None:
        present = json.dumps({"data": list(self.rows.values())})
        if self.lag:
            self.lag -= 1
            present = self._shown[-1]
        self._shown.append(present)
        answering(200, present.encode(), content_type="application/json")(handler, None)

    def _change(self, handler: BaseHTTPRequestHandler, id_: str, body: bytes) -> None:
        row = self.rows.get(id_)
        change = updateDeployment(**json.loads(body))
        if row is None:
            return _refuse(handler, 404, f"Model {id_} not found on proxy.")
        if not row["model_info"]["db_model"]:
            return _refuse(handler, 400, "Cannot edit config-based model. Store model in DB via /model/new first.")
        if change.blocked is not None and not self.administrator:
            return _refuse(handler, 403, "Only proxy admins can change a model's blocked flag.")
        if not self.keeps_weights:
            # As `update_db_model` does it: what the change says, with defaults that are not None, over what is kept.
            kept = LiteLLM_Params(**row["litellm_params"]).model_dump(exclude_none=True)
            defaults = dict.fromkeys(self.forgets, False)
            row["litellm_params"] = kept | defaults | change.litellm_params.model_dump(exclude_none=True)
            if change.blocked is not None and self.knows_blocking:
                row["model_info"]["blocked"] = change.blocked
        return answering(200, json.dumps(row).encode(), content_type="application/json")(handler, None)

    # What it does with requests

    def picks(self, group: str = "chat", *, resting: tuple[str, ...] = (), count: int = 2_000) -> Counter[str]:
        """Which deployments get so many requests."""
        logging.getLogger("LiteLLM Router").setLevel(logging.ERROR)
        able = [
            row for id_, row in self.rows.items()
            if row["model_name"] == group and id_ not in resting and row["model_info"].get("blocked") is not True
        ]  # fmt: skip
        picked: Counter[str] = Counter()
        for _ in range(count if able else 0):
            picked[simple_shuffle(lambda _: None, able, group, {})["model_info"]["id"]] += 1
        return picked

    @property
    def weights(self) -> dict[str, Any]:
        return {id_: row["litellm_params"].get("weight") for id_, row in self.rows.items()}

    @property
    def changes(self) -> list[str]:
        """Whom a change was asked for, in order."""
        assert self.server is not None
        return [asked.path.split("/")[2] for asked in self.server.asked if asked.method == "PATCH"]


def _refuse(handler: BaseHTTPRequestHandler, status: int, message: str) -> None:
    error = {"error": {"message": message, "type": "error", "param": "None", "code": str(status)}}
    answering(status, json.dumps(error).encode(), content_type="application/json")(handler, None)


@contextmanager
def running(*deployments: dict[str, Any]) -> Iterator[Proxy]:
    proxy = Proxy(*deployments)
    with serving(proxy.respond) as server:
        proxy.server = server
        yield proxy
