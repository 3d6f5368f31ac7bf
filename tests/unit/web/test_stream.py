"""The hub that tells open pages what is new: one look for all, only what changed, nobody waits for anybody."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from harness.errors import InfrastructureError
from harness.web import stream
from harness.web.stream import Built, Hub, Key, NoSuchPageError, Part

HOME: Key = ("/", False)


@dataclass
class Scripted:
    """Pages that a test changes."""

    parts: dict[str, str] = field(default_factory=lambda: {"a": "<p>1</p>", "b": "<p>2</p>"})
    said: str = ""
    away: str = ""
    number: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def token(self) -> str:
        self.asked["token"] += 1
        if self.away:
            raise InfrastructureError(self.away)
        return str(self.number)

    def build(self, key: Key) -> Built:
        self.asked[key[0]] += 1
        if key[0] == "/none":
            raise NoSuchPageError("there is none")
        if self.away:
            raise InfrastructureError(self.away)
        parts = tuple(Part(name=name, html=html) for name, html in self.parts.items())
        return Built(title="T", parts=parts, said=self.said)

    def change(self, **parts: str) -> None:
        self.parts |= parts
        self.number += 1


@dataclass
class Listener:
    """One connection, as the server would give it; ``takes`` is whether it reads what it is sent."""

    takes: bool = True
    sent: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    text: str = ""

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if not self.takes and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        self.text += message.get("body", b"").decode()
        await self.sent.put(message)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
            if "data" in lines:
                found.append((lines["id"], json.loads(lines["data"])))
        return found

    async def told(self, n: int) -> list[tuple[str, dict[str, Any]]]:
        async with asyncio.timeout(5):
            while len(self.events()) < n:
                await self.sent.get()
        return self.events()


@asynccontextmanager
async def running(source: Scripted, **options: Any) -> AsyncIterator[tuple[Hub, asyncio.TaskGroup]]:
    hub = Hub(source, look_s=0.02, **options)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(hub.run())
        try:
            yield hub, group
        finally:
            hub.end()


def listen(hub: Hub, group: asyncio.TaskGroup, version: str = "", key: Key = HOME, **options: Any):
    one = Listener(**options)
    return one, group.create_task(hub.tell(key, version, one.receive, one.send))


async def test_a_listener_is_told_everything_once_and_then_what_changed():
    source = Scripted()
    async with running(source) as (hub, group):
        one, _ = listen(hub, group)
        [(_, first)] = await one.told(1)
        assert [part["name"] for part in first["parts"]] == first["order"] == ["a", "b"]
        source.change(b="<p>3</p>")
        _, (_, second) = await one.told(2)
        assert second["parts"] == [{"name": "b", "html": "<p>3</p>"}]
        source.change()
        await asyncio.sleep(0.2)
        assert len(one.events()) == 2


async def test_a_page_that_was_just_made_is_told_nothing_it_knows():
    source = Scripted()
    async with running(source) as (hub, group):
        version = hub.version_of(await hub.current(HOME))
        one, _ = listen(hub, group, version)
        await asyncio.sleep(0.2)
        assert one.events() == []
        source.change(a="<p>new</p>")
        [(_, told)] = await one.told(1)
        assert [part["name"] for part in told["parts"]] == ["a"]


async def test_who_was_away_gets_what_changed_meanwhile_and_who_comes_from_another_process_gets_all():
    source = Scripted()
    async with running(source) as (hub, group):
        one, task = listen(hub, group)
        [(seen, _)] = await one.told(1)
        one.gone.set()
        await task
        source.change(a="<p>x</p>")
        source.change(b="<p>y</p>")
        back, _ = listen(hub, group, seen)
        [(_, told)] = await back.told(1)
        assert {part["name"] for part in told["parts"]} == {"a", "b"}
        for version in ("another.1", "nonsense", "", seen.split(".")[0] + ".999999999999999999999", "."):
            other, _ = listen(hub, group, version)
            [(_, all_of_it)] = await other.told(1)
            assert len(all_of_it["parts"]) == 2


async def test_a_forgotten_topic_does_not_pass_for_the_one_before():
    source = Scripted()
    async with running(source) as (hub, group):
        version = hub.version_of(await hub.current(HOME))
        source.change(a="<p>since</p>")
        hub._topics.clear()
        one, _ = listen(hub, group, version)
        [(_, told)] = await one.told(1)
        assert {part["name"] for part in told["parts"]} == {"a", "b"}


async def test_one_look_serves_all_who_listen_and_nobody_looks_when_nobody_listens():
    source = Scripted()
    async with running(source) as (hub, group):
        await asyncio.sleep(0.15)
        assert source.asked["token"] == 0
        everybody = [listen(hub, group)[0] for _ in range(20)]
        for one in everybody:
            await one.told(1)
        assert source.asked["/"] == 1
        source.change(a="<p>9</p>")
        for one in everybody:
            assert len(await one.told(2)) == 2
        assert source.asked["/"] == 2
        for one in everybody:
            one.gone.set()
        await asyncio.sleep(0.2)
        assert hub.n_listeners == 0
        looked = source.asked["token"]
        await asyncio.sleep(0.2)
        assert source.asked["token"] <= looked + 1


async def test_a_slow_listener_is_let_go_and_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr(stream, "SEND_S", 0.2)
    source = Scripted()
    async with running(source) as (hub, group):
        stuck, task = listen(hub, group, takes=False)
        quick, _ = listen(hub, group)
        assert len(await quick.told(1)) == 1
        source.change(a="<p>z</p>")
        assert len(await quick.told(2)) == 2
        await asyncio.wait_for(task, 5)
        assert stuck.events() == []
        assert hub.n_listeners == 1


async def test_a_comment_now_and_then_keeps_the_connection(monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.1)
    source = Scripted()
    async with running(source) as (hub, group):
        one, _ = listen(hub, group)
        await one.told(1)
        await asyncio.sleep(0.5)
        assert ": still here\n\n" in one.text
        assert len(one.events()) == 1


async def test_a_store_that_is_away_is_said_once_and_so_is_its_return():
    source = Scripted()
    async with running(source) as (hub, group):
        one, _ = listen(hub, group)
        await one.told(1)
        source.away = "the store is away"
        _, (_, told) = await one.told(2)
        assert (told["problem"], told["parts"]) == ("the store is away", [])
        await asyncio.sleep(0.15)
        assert len(one.events()) == 2
        source.away = ""
        *_, (_, back) = await one.told(3)
        assert back["problem"] == ""


async def test_what_is_said_is_told_although_no_part_differs():
    source = Scripted()
    async with running(source) as (hub, group):
        one, _ = listen(hub, group)
        await one.told(1)
        source.said = "small: GO"
        source.change()
        _, (_, told) = await one.told(2)
        assert (told["said"], told["parts"]) == ("small: GO", [])


async def test_the_end_lets_every_listener_go_at_once():
    source = Scripted()
    async with running(source) as (hub, group):
        tasks = [listen(hub, group)[1] for _ in range(5)]
        await asyncio.sleep(0.1)
        hub.end()
        async with asyncio.timeout(1):
            for task in tasks:
                await task


async def test_a_page_that_takes_long_to_make_is_made_less_often():
    now = [0.0]
    source = Scripted()
    hub = Hub(source, clock=lambda: now[0])
    slow = source.build

    def build(key: Key) -> Built:
        now[0] += 2.0
        return slow(key)

    source.build = build  # type: ignore[method-assign]
    await hub.current(HOME)
    for at, made in ((3.0, 1), (9.9, 1), (10.1, 2)):
        now[0] = at
        await hub.current(HOME)
        assert source.asked["/"] == made, at
    hub.touch()
    await hub.current(HOME)
    assert source.asked["/"] == 3


async def test_a_page_that_is_none_is_not_kept_and_idle_ones_are_bounded():
    hub = Hub(Scripted())
    with pytest.raises(NoSuchPageError):
        await hub.current(("/none", False))
    assert len(hub._topics) == 0
    for number in range(stream._TOPICS + 50):
        await hub.current((f"/{number}", False))
    assert len(hub._topics) <= stream._TOPICS + 1
    assert (f"/{stream._TOPICS + 49}", False) in hub._topics


async def test_a_fault_of_one_page_is_said_and_ends_nothing():
    source = Scripted()
    async with running(source) as (hub, group):
        one, _ = listen(hub, group)
        await one.told(1)
        right = source.build
        source.build = lambda key: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        source.change(a="<p>q</p>")
        _, (_, told) = await one.told(2)
        assert "could not be made" in told["problem"]
        source.build = right  # type: ignore[method-assign]
        source.change(a="<p>r</p>")
        *_, (_, back) = await one.told(3)
        assert back["parts"] == [{"name": "a", "html": "<p>r</p>"}]
