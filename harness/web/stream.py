"""Tells every open page what is new, by server-sent events: one look at the source for all who listen.

A page is a list of parts. A topic is one page as a class of readers sees it; it is built again when the source says
that something may have changed, and only the parts that differ are sent. A listener that was away gets what changed
meanwhile, so nothing is queued for anybody: a slow one gets the newest state next.
"""

import asyncio
import itertools
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from starlette.types import Receive, Scope, Send

from harness.errors import HarnessError

_log = logging.getLogger("harness.dashboard")

LOOK_S = 1.0
HEARTBEAT_S = 15.0
SEND_S = 10.0
"""A listener that has not taken a message by then is let go."""
MOST_LISTENERS = 64
_SHARE = 4.0
"""A topic rests this many times as long as building it took: watching costs the store a fifth of its time at most."""
_TOPICS = 200
"""Pages kept that nobody listens to."""
_AT_ONCE = 2
"""Pages that are made at the same time."""
Key = tuple[str, bool]
"""Address of the page, and whether its reader has shown the token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of a page."""

    name: str
    """Unique within the page."""
    html: str
    """One element."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """A page as it stands."""

    title: str
    parts: tuple[Part, ...]
    said: str = ""
    """What somebody who does not look should be told when it changes."""


class Source(Protocol):
    """Where pages come from; both are called in threads."""

    def token(self) -> str:
        """Differs from the last one when a page may have become another."""
        ...

    def build(self, key: Key) -> Built:
        """A page as it stands.

        Raises:
            HarnessError: it cannot be read now.
        """
        ...


class NoSuchPageError(HarnessError):
    """There is no page under this address."""


@dataclass(kw_only=True)
class Topic:
    """One page, its versions, and who listens."""

    key: Key
    numbers: Iterator[int]
    """Versions, which no two topics share: one that was forgotten and made again is not taken for the former."""
    version: int = 0
    built: Built | None = None
    changed: dict[str, int] = field(default_factory=dict)
    """By part: the version that it became as it is."""
    at: datetime | None = None
    """When a part changed last."""
    problem: str = ""
    """Why it is not up to date; empty when it is."""
    listeners: set[asyncio.Event] = field(default_factory=set)
    next_at: float = float("-inf")
    """When it may be built again, by the hub's clock."""
    stale: bool = True
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def take(self, built: Built, now: datetime) -> bool:
        """Take in what was built; whether anything differs."""
        before = {part.name: part.html for part in self.built.parts} if self.built else {}
        fresh = [part.name for part in built.parts if before.get(part.name) != part.html]
        same_order = self.built is not None and list(before) == [part.name for part in built.parts]
        is_new = bool(fresh) or not same_order or bool(self.problem)
        if self.built is not None and built.said != self.built.said:
            is_new = True
        self.built, self.problem = built, ""
        if is_new:
            self.version = next(self.numbers)
            self.changed = {
                part.name: self.version if part.name in fresh else self.changed.get(part.name, self.version)
                for part in built.parts
            }
        if fresh or self.at is None:
            self.at = now
        return is_new

    def fail(self, problem: str) -> bool:
        """Note why it is not up to date; whether that is news."""
        if problem == self.problem:
            return False
        self.problem = problem
        self.version = next(self.numbers)
        return True

    def since(self, version: int) -> Mapping[str, Any]:
        """What a page of that version does not know."""
        built = self.built
        parts = built.parts if built else ()
        return {
            "order": [part.name for part in parts],
            "parts": [
                {"name": part.name, "html": part.html} for part in parts if self.changed.get(part.name, 0) > version
            ],
            "title": built.title if built else "",
            "said": built.said if built else "",
            "problem": self.problem,
            "at": moment(self.at),
        }


def moment(at: datetime | None) -> str:
    """A point in time as pages show it: to the second, in UTC."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


class Hub:
    """All topics. Everything here happens in one event loop; the source is asked in threads."""

    def __init__(self, source: Source, *, look_s: float = LOOK_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._look_s = look_s
        self._clock = clock
        self._topics: OrderedDict[Key, Topic] = OrderedDict()
        self._token = ""
        self._wake = asyncio.Event()
        self._numbers = itertools.count(1)
        self.boot = secrets.token_hex(6)
        """Versions are counted anew by every process: those of another one mean nothing."""
        self._over = asyncio.Event()
        self._building = asyncio.Semaphore(_AT_ONCE)

    @property
    def is_over(self) -> bool:
        """Whether everybody is let go."""
        return self._over.is_set()

    @property
    def n_listeners(self) -> int:
        """Pages that are told now."""
        return sum(len(topic.listeners) for topic in self._topics.values())

    # Looking

    async def run(self) -> None:
        """Look for as long as somebody listens, until the end; nothing that goes wrong with the source ends it."""
        while not self.is_over:
            if not self.n_listeners:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._look()
            await _in_time(self._over.wait(), self._look_s)

    def end(self) -> None:
        """Let every listener go, now."""
        self._over.set()
        self._wake.set()
        for topic in self._topics.values():
            _tell(topic)

    def touch(self) -> None:
        """Something was changed by hand: whoever looks next sees it."""
        for topic in self._topics.values():
            topic.stale, topic.next_at = True, float("-inf")

    async def _look(self) -> None:
        try:
            token = await asyncio.to_thread(self._source.token)
        except HarnessError as error:
            for topic in self._watched():
                if topic.fail(str(error)):
                    _tell(topic)
            # What it says when it is back is news, whatever it is.
            self._token = ""
            return
        except Exception:  # noqa: BLE001  a fault of ours in one look must not end all of them
            _log.exception("the dashboard could not look")
            return
        if token != self._token:
            self._token = token
            for topic in self._topics.values():
                topic.stale = True
        for topic in self._watched():
            if (topic.stale or topic.problem) and self._clock() >= topic.next_at:
                await self._renew(topic)

    def _watched(self) -> list[Topic]:
        return [topic for topic in list(self._topics.values()) if topic.listeners]

    async def _renew(self, topic: Topic) -> None:
        async with topic.lock:
            begin = self._clock()
            topic.stale = False
            try:
                is_new = topic.take(await self._built(topic.key), datetime.now(UTC))
            except HarnessError as error:
                is_new = topic.fail(str(error))
            except Exception:  # noqa: BLE001  nor may one page keep the others from being renewed
                _log.exception("a page could not be made")
                is_new = topic.fail("this page could not be made; the log of `harness dashboard` says why")
            now = self._clock()
            topic.next_at = now + _SHARE * (now - begin)
            if is_new:
                _tell(topic)

    async def current(self, key: Key) -> Topic:
        """The page as it stands, built again unless that was a moment ago.

        Raises:
            NoSuchPageError: there is none.
            HarnessError: it cannot be read, and never was.
        """
        topic = self._topic(key)
        if topic.built is None or self._clock() >= topic.next_at:
            async with topic.lock:
                if topic.built is None or self._clock() >= topic.next_at:
                    await self._first(topic)
        return topic

    async def _first(self, topic: Topic) -> None:
        begin = self._clock()
        try:
            built = await self._built(topic.key)
        except NoSuchPageError:
            self._topics.pop(topic.key, None)
            raise
        except HarnessError as error:
            if topic.built is None:
                raise
            is_new = topic.fail(str(error))
        else:
            is_new = topic.take(built, datetime.now(UTC))
        now = self._clock()
        topic.next_at = now + _SHARE * (now - begin)
        if is_new:
            _tell(topic)

    async def _built(self, key: Key) -> Built:
        async with self._building:
            return await asyncio.to_thread(self._source.build, key)

    def _topic(self, key: Key) -> Topic:
        found = self._topics.get(key)
        if found is None:
            found = self._topics[key] = Topic(key=key, numbers=self._numbers)
            idle = [old for old, topic in self._topics.items() if not topic.listeners and old != key]
            for old in idle[: max(0, len(idle) - _TOPICS)]:
                del self._topics[old]
        self._topics.move_to_end(key)
        return found

    # Telling

    def version_of(self, topic: Topic) -> str:
        """What a page or an event is known by."""
        return f"{self.boot}.{topic.version}"

    def _known(self, version: str) -> int:
        boot, _, number = version.partition(".")
        return int(number) if boot == self.boot and number.isascii() and number.isdigit() and len(number) < 16 else 0

    async def tell(self, key: Key, version: str, receive: Receive, send: Send) -> None:
        """Answer one listener until it goes, or everything ends; ``version`` is what it knows already."""
        topic = self._topic(key)
        fresh = asyncio.Event()
        topic.listeners.add(fresh)
        self._wake.set()
        try:
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(_left(receive, fresh))
                try:
                    await self._tell(topic, self._known(version), fresh, waiting, send)
                finally:
                    waiting.cancel()
        finally:
            topic.listeners.discard(fresh)

    async def _tell(
        self, topic: Topic, known: int, fresh: asyncio.Event, waiting: "asyncio.Task[None]", send: Send
    ) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        text = b"retry: 2000\n\n"
        while not self.is_over and not waiting.done():
            if topic.built is not None and topic.version != known:
                text += _event(self.version_of(topic), topic.since(known))
                known = topic.version
            fresh.clear()
            message = {"type": "http.response.body", "body": text, "more_body": True}
            if text and not await _in_time(send(message), SEND_S):
                return
            # A comment now and then: proxies keep the connection, and a client that is gone is noticed.
            text = b"" if await _in_time(fresh.wait(), HEARTBEAT_S) else b": still here\n\n"
        await _in_time(send({"type": "http.response.body", "body": b"", "more_body": False}), 1.0)


def _event(version: str, value: Mapping[str, Any]) -> bytes:
    return b"id: " + version.encode() + b"\nevent: change\ndata: " + orjson.dumps(value) + b"\n\n"


def _tell(topic: Topic) -> None:
    for fresh in topic.listeners:
        fresh.set()


async def _left(receive: Receive, fresh: asyncio.Event) -> None:
    """Wait for the listener to go."""
    while (await receive())["type"] != "http.disconnect":
        pass
    fresh.set()


async def _in_time(what: Awaitable[Any], limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            await what
    except TimeoutError:
        return False
    return True


class Listening:
    """The answer that goes on: an ASGI application for one listener."""

    def __init__(self, hub: Hub, key: Key, version: str) -> None:
        self._hub, self._key, self._version = hub, key, version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell it until it goes."""
        del scope
        await self._hub.tell(self._key, self._version, receive, send)
