"""What may stand in the messages and tools of a request for a candidate to be asked with it.

Everything is named that may pass. What is not may be something that lives at production, such as a file or an answer
that it keeps, or a server's own tool; and litellm gives some of it meanings of its own, such as addresses to download.
"""

from collections.abc import Callable, Mapping, Sequence

from harness.canary.unfit import Unfit
from harness.domain.json import Json
from harness.domain.unanswered import Reason

MAX_DEPTH = 64
"""Of a request's JSON; no tool's schema comes near it, and libraries that copy it recurse."""

Part = Mapping[str, Json]


def check_depth(body: Json) -> None:
    """Raise Unfit for a body that is nested too deep to be copied by everybody it passes."""
    level: list[Json] = [body]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise Unfit(Reason.UNSUPPORTED_REQUEST)


class Contents:
    """Looks at the contents of one request; ``addresses`` says whether images and files may be given by address."""

    def __init__(self, *, addresses: bool) -> None:
        self._addresses = addresses

    def chat(self, messages: Json) -> None:
        """Messages of chat completions."""
        for message in _objects(messages):
            _texts(message, "role")
            if message.get("audio") is not None:  # an answer that production keeps
                raise Unfit(Reason.UNSUPPORTED_REQUEST)
            self._parts(message.get("content"), self._chat_part)

    def responses(self, given: Json) -> list[Part] | str:
        """The input of the Responses API, without what another model thought.

        A candidate is asked as in chat, where thoughts are not handed on; those of production are sealed anyway.
        """
        if isinstance(given, str):
            return given
        items = [item for item in _objects(given) if item.get("type") != "reasoning"]
        for item in items:
            match item.get("type") or "message":
                case "message":
                    _texts(item, "role")
                    if item.get("content") is None:
                        raise Unfit(Reason.UNREADABLE_REQUEST)
                    self._parts(item["content"], self._response_part)
                case "function_call":
                    _texts(item, "call_id", "name", "arguments")
                case "function_call_output":
                    _texts(item, "call_id")
                    self._parts(item.get("output"), self._response_part)
                case _:
                    raise Unfit(Reason.UNSUPPORTED_REQUEST)
        return items

    def messages(self, messages: Json, system: Json) -> None:
        """Messages and system prompt of the Messages API."""
        for message in _objects(messages):
            _texts(message, "role")
            self._parts(message.get("content"), self._block)
        self._parts(system, self._block)

    def _parts(self, content: Json, check: Callable[[Part], None]) -> None:
        if content is None or isinstance(content, str):
            return
        for part in _objects(content, empty=True):
            check(part)

    def _chat_part(self, part: Part) -> None:
        match part.get("type"):
            case "text":
                _texts(part, "text")
            case "refusal":
                pass
            case "image_url":
                given = part.get("image_url")
                self._media(given.get("url") if isinstance(given, dict) else given)
            case "input_audio":
                _plain_data(_object(part.get("input_audio")).get("data"))
            case "file":
                file = _object(part.get("file"))
                if file.keys() - {"file_data", "filename"}:
                    raise Unfit(Reason.UNSUPPORTED_REQUEST)
                self._media(file.get("file_data"), address=False)
            case _:
                raise Unfit(Reason.UNSUPPORTED_REQUEST)

    def _response_part(self, part: Part) -> None:
        if part.get("file_id") is not None:
            raise Unfit(Reason.UNSUPPORTED_REQUEST)
        match part.get("type"):
            case "input_text" | "output_text":
                _texts(part, "text")
            case "refusal":
                pass
            case "input_image":
                self._media(part.get("image_url"))
            case "input_file":
                # An address of a file is what chat has no place for.
                if part.get("file_url") is not None:
                    raise Unfit(Reason.UNSUPPORTED_REQUEST)
                self._media(part.get("file_data"), address=False)
            case _:
                raise Unfit(Reason.UNSUPPORTED_REQUEST)

    def _block(self, block: Part) -> None:
        # Documents have no counterpart in chat, and litellm leaves them out.
        match block.get("type"):
            case "text":
                _texts(block, "text")
            case "tool_use":
                _texts(block, "id", "name")
            case "thinking" | "redacted_thinking":
                pass
            case "image":
                self._source(_object(block.get("source")))
            case "tool_result":
                _texts(block, "tool_use_id")
                self._parts(block.get("content"), self._block)
            case _:
                raise Unfit(Reason.UNSUPPORTED_REQUEST)

    def _source(self, source: Part) -> None:
        match source.get("type"):
            case "base64":
                _plain_data(source.get("data"))
            case "url":
                self._media(source.get("url"))
            case _:
                raise Unfit(Reason.UNSUPPORTED_REQUEST)

    def _media(self, value: Json, *, address: bool = True) -> None:
        """Only data and, where they may be, web addresses: others name what the candidate's account may read."""
        if not isinstance(value, str):
            raise Unfit(Reason.UNREADABLE_REQUEST)
        if value.startswith("data:"):
            return
        if not (address and self._addresses and value.startswith(("https://", "http://"))):
            raise Unfit(Reason.UNSUPPORTED_REQUEST)


def check_tools(tools: Json, kinds: frozenset[str | None]) -> None:
    """Raise Unfit unless all tools are run by the client; others are run by production, or by litellm."""
    if tools is None:
        return
    for tool in _objects(tools, empty=True):
        kind = tool.get("type")
        if not (kind is None or isinstance(kind, str)) or kind not in kinds:
            raise Unfit(Reason.UNSUPPORTED_REQUEST)


def check_choice(choice: Json, kinds: frozenset[str]) -> None:
    """Raise Unfit unless the choice of a tool is a word or of one of these kinds."""
    if isinstance(choice, dict) and not (isinstance(kind := choice.get("type"), str) and kind in kinds):
        raise Unfit(Reason.UNSUPPORTED_REQUEST)


def _plain_data(value: Json) -> None:
    if not isinstance(value, str):
        raise Unfit(Reason.UNREADABLE_REQUEST)
    if ":" in value:  # not base64
        raise Unfit(Reason.UNSUPPORTED_REQUEST)


def _texts(value: Part, *names: str) -> None:
    """What a translation would leave out with all that belongs to it when it is not there."""
    if not all(isinstance(value.get(name), str) for name in names):
        raise Unfit(Reason.UNREADABLE_REQUEST)


def _object(value: Json) -> Part:
    if not isinstance(value, dict):
        raise Unfit(Reason.UNREADABLE_REQUEST)
    return value


def _objects(value: Json, *, empty: bool = False) -> Sequence[Part]:
    if not isinstance(value, list) or not (value or empty) or not all(isinstance(item, dict) for item in value):
        raise Unfit(Reason.UNREADABLE_REQUEST)
    return value
