"""Hooks as programs and as webhooks, the good ones and the others."""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from harness.config.rollout import HookSection, HooksSection
from harness.controller.hooks import Hooks, hook_of
from harness.controller.ledger import Doer, MemoryLedger
from harness.domain.rollout import EventKind
from tests.integration.controller import loopback
from tests.integration.controller.loopback import answering, serving
from tests.unit.controller.happening import Now, news

SECRET = "hunter22-hunter22"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def command(*argv: str, timeout_s: float = 10.0):
    return hook_of(HookSection(name="gate", command=list(argv), timeout_s=timeout_s))


def python(code: str, timeout_s: float = 10.0):
    return command(sys.executable, "-S", "-c", code, timeout_s=timeout_s)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie whom nobody has waited for yet is not alive.
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def gone(pid: int) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


# Commands


def test_a_command_gets_the_event_on_its_input_and_in_its_environment(tmp_path):
    out = tmp_path / "out"
    code = (
        f"import json, os, sys; json.dump([json.load(sys.stdin), dict(os.environ), os.getsid(0) == os.getpid()],"
        f" open({str(out)!r}, 'w'))"
    )
    assert python(code).run(news(evidence={"spend_usd": 1.5}), "before").ok
    told, environment, own_session = json.loads(out.read_text())
    assert told == {
        "key": "swap-1:7:gate", "hook": "gate", "stage": "before", "live": "shop", "rollout": "swap-1",
        "candidate": "small", "number": 7, "event": "advanced", "phase": "canary_5", "share": 0.05,
        "at": "2026-01-02T03:04:05+00:00", "actor": "controller", "reason": "all is well",
        "evidence": {"spend_usd": 1.5},
    }  # fmt: skip
    given = {name: value for name, value in environment.items() if name.startswith("HARNESS_ROLLOUT_")}
    assert given == {
        "HARNESS_ROLLOUT_KEY": "swap-1:7:gate", "HARNESS_ROLLOUT_HOOK": "gate", "HARNESS_ROLLOUT_STAGE": "before",
        "HARNESS_ROLLOUT_LIVE": "shop", "HARNESS_ROLLOUT_ID": "swap-1", "HARNESS_ROLLOUT_CANDIDATE": "small",
        "HARNESS_ROLLOUT_NUMBER": "7", "HARNESS_ROLLOUT_EVENT": "advanced", "HARNESS_ROLLOUT_PHASE": "canary_5",
        "HARNESS_ROLLOUT_SHARE": "0.05", "HARNESS_ROLLOUT_AT": "2026-01-02T03:04:05+00:00",
        "HARNESS_ROLLOUT_ACTOR": "controller", "HARNESS_ROLLOUT_REASON": "all is well",
    }  # fmt: skip
    assert environment["PATH"] == os.environ["PATH"]
    assert own_session


def test_no_shell_reads_the_arguments(tmp_path):
    out = tmp_path / "out"
    code = f"import sys; open({str(out)!r}, 'w').write(sys.argv[1])"
    assert command(sys.executable, "-S", "-c", code, "$(touch /tmp/x); `id` | > *").run(news(), "after").ok
    assert out.read_text() == "$(touch /tmp/x); `id` | > *"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import sys; print('busy'); print('a release freeze'); sys.exit(3)",
            "it ended with status 3: a release freeze",
        ),
        ("import sys; sys.exit('on standard error')", "it ended with status 1: on standard error"),
        ("raise SystemExit(4)", "it ended with status 4"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "it was killed by signal 15"),
        (
            "import sys; sys.stdout.buffer.write(bytes([255, 10, 27, 10])); sys.exit(1)",
            "it ended with status 1: \ufffd",
        ),
    ],
)
def test_a_command_that_fails_refuses_with_the_last_it_says(code, said):
    assert python(code).run(news(), "before").refused == said


@pytest.mark.parametrize("program", ["/no/such/program", "/etc/passwd", "no-such-program-anywhere"])
def test_a_command_that_cannot_be_started_refuses(program):
    assert command(program).run(news(), "before").refused.startswith("it cannot be started: ")


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path):
    pids = tmp_path / "pids"
    code = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " child = subprocess.Popen(['sleep', '60']);"
        f" open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}');"
        " print('waiting for the pipeline', flush=True); time.sleep(60)"
    )
    begun = time.monotonic()
    refused = python(code, timeout_s=1.0).run(news(), "before").refused
    assert time.monotonic() - begun < 3
    assert refused == "it did not end within 1 s and was killed: waiting for the pipeline"
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_what_a_command_leaves_running_ends_with_it(tmp_path):
    pid = tmp_path / "pid"
    begun = time.monotonic()
    assert command("sh", "-c", f"sleep 60 & echo $! > {pid}").run(news(), "after").ok
    assert time.monotonic() - begun < 3
    assert gone(int(pid.read_text()))


def test_a_child_that_got_away_with_the_output_is_not_waited_for(tmp_path):
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '5'], start_new_session=True);"
        f" open({str(pid)!r}, 'w').write(str(child.pid)); print('done'); sys.exit(1)"
    )
    begun = time.monotonic()
    try:
        assert python(code).run(news(), "after").refused == "it ended with status 1: done"
        assert time.monotonic() - begun < 3
    finally:
        os.kill(int(pid.read_text()), 9)


def test_a_child_that_got_away_and_never_stops_talking_is_not_listened_to(tmp_path):
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys; child = subprocess.Popen(['yes'], start_new_session=True);"
        f" open({str(pid)!r}, 'w').write(str(child.pid)); sys.exit(1)"
    )
    begun = time.monotonic()
    try:
        assert python(code).run(news(), "after").refused.startswith("it ended with status 1")
        assert time.monotonic() - begun < 3
        assert gone(int(pid.read_text())), "nobody reads what it writes"
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), 9)


def test_a_command_that_does_not_read_a_large_event_is_not_waited_for():
    large = news(evidence={"checks": ["x" * 1_000] * 1_000})
    assert command("true").run(large, "after").ok


def test_a_command_that_never_stops_talking_takes_no_memory():
    code = "import sys\nwhile True: sys.stdout.buffer.write(b'y' * 65536)"
    refused = python(code, timeout_s=0.5).run(news(), "before").refused
    assert refused == "it did not end within 0.5 s and was killed"


def test_the_end_of_much_output_is_what_is_told():
    code = "import sys; sys.stdout.write('noise\\n' * 100_000 + 'no quota\\n'); sys.exit(1)"
    assert python(code).run(news(), "before").refused == "it ended with status 1: no quota"


def test_a_secret_it_prints_is_not_told(monkeypatch, caplog):
    monkeypatch.setenv("DEPLOY_TOKEN", SECRET)
    code = "import os, sys; print('401 for ' + os.environ['DEPLOY_TOKEN']); sys.exit(1)"
    assert python(code).run(news(), "before").refused == "it ended with status 1: 401 for ***"
    assert SECRET not in caplog.text


def test_a_reason_no_encoding_can_say_and_with_zero_bytes_reaches_the_command():
    code = (
        "import json, os, sys; told = json.load(sys.stdin)['reason'];"
        " sys.exit(ascii((told[:4], len(told), os.environ['HARNESS_ROLLOUT_REASON'][:9])))"
    )
    refused = python(code).run(news(reason="a\x00\udc80b" + "c" * 300_000), "before").refused
    assert refused == r"it ended with status 1: ('a\x00\udc80b', 300004, 'a \\udc80b')"


# Webhooks


def webhook(monkeypatch, url: str, timeout_s: float = 5.0):
    monkeypatch.setenv("DEPLOY_HOOK", f" {url}/{SECRET}\n")
    return hook_of(HookSection(name="gate", webhook_env="DEPLOY_HOOK", timeout_s=timeout_s))


def test_a_webhook_gets_the_event_under_one_key(monkeypatch):
    with serving(answering(204)) as server:
        hook = webhook(monkeypatch, server.url)
        assert hook.run(news(), "after").ok
        assert hook.run(news(), "after").ok
    first, second = server.asked
    assert (first.method, first.path) == ("POST", f"/{SECRET}")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == "swap-1:7:gate"
    assert first.headers["content-type"] == "application/json"
    told = json.loads(first.body)
    assert (told["key"], told["stage"], told["event"]) == ("swap-1:7:gate", "after", "advanced")


@pytest.mark.parametrize(
    ("respond", "said"),
    [
        (answering(409, b'{"reason": "frozen until\\nMonday"}'), "answered 409: Monday"),
        (answering(500, b"<html>oops</html>"), "answered 500"),
        (answering(403, b'{"reason": 5}'), "answered 403"),
        (answering(302, location="http://127.0.0.1:1/"), "answered 302"),
        (loopback.silent, "was not reached: no answer within 0.5 s"),
        (loopback.dripping, "was not reached: no answer within 0.5 s"),
        (loopback.closing, "was not reached: the connection broke off"),
    ],
)
def test_a_webhook_that_says_anything_else_refuses(monkeypatch, caplog, respond, said):
    with serving(respond) as server:
        refused = webhook(monkeypatch, server.url, timeout_s=0.5).run(news(), "before").refused
    assert refused == f"the address in DEPLOY_HOOK {said}"
    assert SECRET not in refused + caplog.text


def test_an_endless_answer_is_read_for_a_moment_only(monkeypatch):
    with serving(loopback.endless) as server:
        assert webhook(monkeypatch, server.url).run(news(), "before").ok


def test_an_answer_that_repeats_the_address_does_not_get_it_told(monkeypatch):
    with serving(answering(400, json.dumps({"reason": f"unknown hook /{SECRET}"}).encode())) as server:
        refused = webhook(monkeypatch, server.url).run(news(), "before").refused
    assert refused == "the address in DEPLOY_HOOK answered 400: unknown hook /***"


def test_a_webhook_without_an_address_refuses(monkeypatch):
    monkeypatch.delenv("DEPLOY_HOOK", raising=False)
    hook = hook_of(HookSection(name="gate", webhook_env="DEPLOY_HOOK"))
    assert hook.run(news(), "before").refused == "DEPLOY_HOOK is not set"


# Together


def test_hooks_of_a_rollout_are_told_what_they_want_to_know(tmp_path):
    def say(name: str, **more):
        return HookSection(name=name, command=["sh", "-c", f"echo $HARNESS_ROLLOUT_EVENT >> {tmp_path}/{name}"], **more)

    section = HooksSection(
        before=[say("gate")],
        after=[say("all"), say("ends", events=[EventKind.ROLLED_BACK, EventKind.COMPLETED])],
    )
    book = MemoryLedger()
    hooks = Hooks.of(section, ledger_of=lambda _: book, doer=Doer(lambda _: book, now=Now()))
    for number, kind in enumerate((EventKind.STARTED, EventKind.ADVANCED, EventKind.ROLLED_BACK), start=1):
        told = news(kind, number=number)
        assert hooks.before(told).ok
        assert [hooks.after(told), hooks.after(told)] == [[], []]
    heard = {file.name: file.read_text().split() for file in tmp_path.iterdir()}
    assert heard == {
        "gate": ["advanced"],
        "all": ["started", "advanced", "rolled_back"],
        "ends": ["rolled_back"],
    }
