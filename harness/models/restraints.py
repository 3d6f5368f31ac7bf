"""What litellm may not do in a process that asks with requests of strangers."""

import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn

_FETCHES = {"safe_get", "async_safe_get"}


@dataclass(slots=True)
class Downloads:
    """Whether the call wanted to download what a message names."""

    refused: bool = False


DOWNLOADS: ContextVar[Downloads | None] = ContextVar("downloads", default=None)


def refuse_downloads(make_error: Callable[[str], Exception]) -> bool:
    """Have litellm fetch no address out of a message; whether the functions it does that with were found.

    Some providers take no addresses of images and files, so litellm downloads them itself: from this machine, with
    this machine's view of the network.
    """

    def refused() -> NoReturn:
        wanted = DOWNLOADS.get()
        if wanted is not None:
            wanted.refused = True
        raise make_error("nothing is downloaded for a message")

    def fetch(*_: Any, **__: Any) -> NoReturn:
        refused()

    async def fetch_async(*_: Any, **__: Any) -> NoReturn:
        refused()

    instead = {"safe_get": fetch, "async_safe_get": fetch_async}
    found: set[str] = set()
    # Modules that were imported have names of their own for them; those to come take them from where they are defined.
    for module in [module for name, module in sys.modules.items() if name.split(".", 1)[0] == "litellm"]:
        for name in _FETCHES & vars(module).keys():
            setattr(module, name, instead[name])
            found.add(name)
    return found == _FETCHES
