"""Hooks: what others run before the candidate gets more, and after anything happened; commands and webhooks.

A hook before a step is asked each time the step is due and may refuse it; nothing is asked before a roll back, a stop,
a hold or a pause. A hook after a step is told of it at least once, and its failure keeps nothing from happening.
"""

import json
import logging
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Literal, Protocol, Self
from urllib.parse import urlsplit

import orjson

from harness.config.rollout import ASKED_BEFORE, HookSection, HooksSection
from harness.controller import calls, ledger, saying
from harness.controller.ledger import Doer, LedgerOf
from harness.controller.news import News
from harness.domain.rollout import EventKind
from harness.errors import ConfigurationError

_OUTPUT_BYTES = 8_192
"""What is kept of a command's output, from its end: that is where it says why."""
_REPLY_BYTES = 65_536
_VARIABLE = 4_096
_LOOK_S = 0.02
Stage = Literal["before", "after"]
_log = logging.getLogger("harness.controller")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of a hook."""

    refused: str | None = None
    """Why the step is not wanted, or why the hook failed, without secrets; ``None`` when all is well."""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to say against going on."""
        return self.refused is None


class Hook(Protocol):
    """Somebody who is asked, or told."""

    @property
    def name(self) -> str:
        """Unique in the rollout."""
        ...

    def run(self, news: News, stage: Stage) -> Answer:
        """Ask or tell it; never raises for what the hook does."""
        ...


@dataclass(frozen=True, kw_only=True)
class CommandHook:
    """A program in a session of its own, which gets the news as JSON on standard input; 0 is yes.

    It has the controller's environment, working directory and user. When it ends, or its time is over, whatever it
    started is killed with it.
    """

    name: str
    argv: tuple[str, ...]
    timeout_s: float

    def run(self, news: News, stage: Stage) -> Answer:
        """Run it to its end."""
        try:
            status, output = _run(self.argv, _document(news, stage, self.name), _environment(news, stage, self.name),
                                  self.timeout_s)  # fmt: skip
        except OSError as error:
            return Answer(refused=f"it cannot be started: {error.strerror}")
        said = saying.last_line(output)
        if status == 0:
            return Answer()
        if status is None:
            return Answer(refused=_with(f"it did not end within {self.timeout_s:g} s and was killed", said))
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return Answer(refused=_with(f"it {how}", said))


@dataclass(frozen=True, kw_only=True)
class WebhookHook:
    """An address that gets the news as JSON, under one key however often; 2xx is yes.

    Its address is read from the environment at each call, and never told.
    """

    name: str
    variable: str
    timeout_s: float

    def run(self, news: News, stage: Stage) -> Answer:
        """Call it once."""
        address = os.environ.get(self.variable, "").strip()
        if not address:
            return Answer(refused=f"{self.variable} is not set")
        headers = {"Content-Type": "application/json", "Idempotency-Key": news.key(self.name)}
        body = _document(news, stage, self.name)
        try:
            reply = calls.call(
                "POST", address, headers=headers, body=body, timeout_s=self.timeout_s, max_bytes=_REPLY_BYTES
            )
        except calls.CallError as error:
            return Answer(refused=f"the address in {self.variable} was not reached: {error}")
        if reply.ok:
            return Answer()
        said = _given(reply.body, address)
        return Answer(refused=_with(f"the address in {self.variable} answered {reply.status}", said))


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscribed:
    """A hook, and what it is told of."""

    hook: Hook
    events: frozenset[EventKind] = frozenset()
    """Everything when empty."""

    def wants(self, news: News) -> bool:
        """Whether it is told of this."""
        return not self.events or news.event.kind in self.events


class Hooks:
    """The hooks of a rollout, one after the other."""

    def __init__(
        self, before: Sequence[Subscribed], after: Sequence[Subscribed], *, ledger_of: LedgerOf, doer: Doer
    ) -> None:
        """Nothing is run before :meth:`before` and :meth:`after`.

        Args:
            before: Who is asked before the candidate gets more.
            after: Who is told after anything happened.
            ledger_of: Where it is noted that hooks were asked.
            doer: Has those that are told after a step told once.
        """
        self._before = tuple(before)
        self._after = tuple(after)
        self._ledger_of = ledger_of
        self._doer = doer

    @classmethod
    def of(cls, section: HooksSection, *, more: Sequence[Subscribed] = (), ledger_of: LedgerOf, doer: Doer) -> Self:
        """The hooks a rollout asks for, and ``more`` that are told after a step before those are."""
        before, after = ([_subscribed(one) for one in many] for many in (section.before, section.after))
        return cls(before, [*more, *after], ledger_of=ledger_of, doer=doer)

    def before(self, news: News) -> Answer:
        """Ask whether the step may be taken; the first that refuses ends it.

        What was agreed to earlier is asked again: an agreement is to a step now.
        """
        if news.event.kind not in ASKED_BEFORE:
            return Answer()
        book = self._ledger_of(news.event.rollout_id)
        for hook in (one.hook for one in self._before if one.wants(news)):
            name = action_name(hook)
            ledger.noted(book, news.event.number, name)
            answer = _asked(hook, news)
            if not answer.ok:
                return Answer(refused=f"hook {hook.name}: {answer.refused}")
            ledger.noted_end(book, news.event.number, name, "agreed")
        return Answer()

    def after(self, news: News, *, until: Callable[[], bool] = lambda: False) -> list[str]:
        """Tell everybody who was not told of it yet; returns who could not be, and why.

        Args:
            news: What happened.
            until: Whether no further one is begun now, because something else has waited long enough.

        Raises:
            HarnessError: the ledger cannot be read or written.
        """
        problems = []
        for hook in (one.hook for one in self._after if one.wants(news)):
            name = action_name(hook)
            if until() and self._doer.waits(news.event, name) is None:
                problems.append(f"hook {hook.name}: its turn comes later")
                continue

            def tell(hook: Hook = hook) -> str | None:
                return hook.run(news, "after").refused

            problem = self._doer.once(news.event, name, tell)
            if problem is not None:
                problems.append(f"hook {hook.name}: {problem}")
        return problems


def hook_of(section: HookSection) -> Hook:
    """The hook a section asks for.

    Raises:
        ConfigurationError: it names neither a command nor a webhook.
    """
    if section.command is not None:
        return CommandHook(name=section.name, argv=tuple(section.command), timeout_s=section.timeout_s)
    if section.webhook_env is not None:
        return WebhookHook(name=section.name, variable=section.webhook_env, timeout_s=section.timeout_s)
    raise ConfigurationError(f"hook {section.name}: either `command` or `webhook_env` is wanted")


def _asked(hook: Hook, news: News) -> Answer:
    try:
        return hook.run(news, "before")
    except Exception as error:  # noqa: BLE001  whatever is wrong with a hook, it has not agreed
        _log.exception("hook %s failed", hook.name)
        return Answer(refused=f"it failed ({type(error).__name__})")


def _subscribed(section: HookSection) -> Subscribed:
    return Subscribed(hook=hook_of(section), events=frozenset(section.events))


def action_name(hook: Hook) -> str:
    """The hook's name in the ledger."""
    return f"hook:{hook.name}"


def _document(news: News, stage: Stage, name: str) -> bytes:
    # In ASCII: what people gave as a reason need not be text that UTF-8 can say.
    return json.dumps({"key": news.key(name), "hook": name, "stage": stage, **news.document()}, default=str).encode()


def _environment(news: News, stage: Stage, name: str) -> Mapping[str, str]:
    event = news.event
    values = {
        "KEY": news.key(name),
        "HOOK": name,
        "STAGE": stage,
        "LIVE": news.live,
        "ID": event.rollout_id,
        "CANDIDATE": news.candidate,
        "NUMBER": str(event.number),
        "EVENT": str(event.kind),
        "PHASE": event.phase,
        "SHARE": f"{news.share:g}",
        "AT": event.at.isoformat(),
        "ACTOR": event.actor,
        "REASON": event.reason,
    }
    return {f"HARNESS_ROLLOUT_{key}": saying.sayable(value)[:_VARIABLE] for key, value in values.items()}


# Commands


def _run(
    argv: Sequence[str], document: bytes, environment: Mapping[str, str], timeout_s: float
) -> tuple[int | None, str]:
    """Exit status, ``None`` when it had to be killed, and the end of what it wrote."""
    deadline = time.monotonic() + timeout_s
    with tempfile.TemporaryFile() as told:
        # A file and not a pipe: a program that does not read it is not waited for.
        told.write(document)
        told.seek(0)
        process = subprocess.Popen(  # noqa: S603  the operator's own program, without a shell
            argv, stdin=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **environment},
        )  # fmt: skip
    assert process.stdout is not None  # noqa: S101  it was asked for
    output = _Tail(process.stdout)
    try:
        ended = _followed(process, output, deadline)
    finally:
        # Before the process is reaped, so that its number cannot be another's by now.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        output.take()
        output.close()
    return (status if ended else None), output.text


def _followed(process: "subprocess.Popen[bytes]", output: "_Tail", deadline: float) -> bool:
    """Read what it writes until it ends; whether it did in time."""
    while not _has_ended(process):
        if time.monotonic() >= deadline:
            return False
        output.wait(_LOOK_S)
    return True


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it has, without reaping it where the system can tell so."""
    if not hasattr(os, "waitid"):  # macOS
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


class _Tail:
    """The end of what comes out of a pipe, however much that is, without ever waiting for more."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._kept = b""
        self._open, self._cut = True, False
        os.set_blocking(pipe.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)

    def wait(self, seconds: float) -> None:
        """Take what there is, or what comes within that time."""
        if not self._open:
            time.sleep(seconds)
        elif self._selector.select(seconds):
            self._take_once()

    def take(self) -> None:
        """Take what is still there; a process that got away may go on writing, so not for ever."""
        for _ in range(64):
            if not (self._open and self._selector.select(0)):
                return
            self._take_once()

    def _take_once(self) -> None:
        part = os.read(self._pipe.fileno(), 65_536)
        self._open = bool(part)
        kept = self._kept + part
        self._kept, self._cut = kept[-_OUTPUT_BYTES:], self._cut or len(kept) > _OUTPUT_BYTES

    def close(self) -> None:
        """Read no more."""
        self._selector.close()
        self._pipe.close()

    @property
    def text(self) -> str:
        """What was kept, in whole lines: half a secret would not be known for one."""
        kept = self._kept.partition(b"\n")[2] if self._cut else self._kept
        return kept.decode("utf-8", "replace")


# What they say


def _given(body: bytes, address: str) -> str:
    """The reason an answer gives, when it is a JSON object that has one; without the address, should it repeat it."""
    path = urlsplit(address).path.strip("/")
    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(body)
        if isinstance(found, dict) and isinstance(found.get("reason"), str):
            return saying.last_line(found["reason"], secrets=(address, path))
    return ""


def _with(problem: str, said: str) -> str:
    return f"{problem}: {said}" if said else problem
