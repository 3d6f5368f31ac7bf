"""What one arm is asked: the recorded request with the arm's own settings laid over it."""

from harness.domain.exchange import ChatRequest, Exchange
from harness.domain.model import ModelSpec

_SYSTEM_ROLES = frozenset({"system", "developer"})


def request_for(exchange: Exchange, spec: ModelSpec) -> ChatRequest:
    """The recorded request as ``spec`` is to be asked it.

    * The model is the spec's.
    * A parameter of the spec replaces the recorded one; ``None`` removes it.
    * A system prompt of the spec stands first and replaces every system and developer message of the recording,
      those in mid-conversation included, since they belong to the prompt that is being replaced.
    * Tools and all other messages stay as recorded, earlier answers of production among them: every arm continues
      the same conversation.

    Applying it twice changes nothing. The recording itself is never changed; messages are shared, not copied.
    """
    request = exchange.request
    messages = request.messages
    if spec.system_prompt is not None:
        rest = (message for message in messages if message.get("role") not in _SYSTEM_ROLES)
        messages = ({"role": "system", "content": spec.system_prompt}, *rest)
    params = {name: value for name, value in {**request.params, **spec.params}.items() if value is not None}
    return ChatRequest(model=spec.model, messages=messages, tools=request.tools, params=params)
