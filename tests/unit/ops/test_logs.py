"""Logs wait for nobody, keep nobody's bodies, and say no more than they may."""

import json
import logging
import os
import subprocess
import sys
import textwrap

from harness.ops import logs

BEGIN = """
import gc, json, logging, os, sys, time
from harness.ops import logs
logs.configure()
log = logging.getLogger("harness.test")
"""


def run(program: str, **how) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(program)], timeout=30, check=False, stdout=subprocess.PIPE, **how
    )


def lines(program: str) -> list[dict]:
    done = run(program, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_is_one_json_object():
    [line] = lines("""log.warning("two\\nlines of %s \\ud800", "Grüße", extra={"fields": {"child": 7}})""")
    assert (line["level"], line["source"], line["child"]) == ("warning", "harness.test", 7)
    assert line["message"].startswith("two\nlines of Grüße")
    assert line["time"].endswith("Z")


def test_the_last_lines_are_written_before_the_process_ends():
    assert len(lines("for number in range(500): log.info('%d', number)")) == 500


def test_a_traceback_is_its_class_and_place():
    [line] = lines("""
        try:
            raise ValueError("the prompt said: my password is 1234")
        except ValueError:
            log.exception("it failed")
    """)
    assert line["error"].startswith("ValueError at <string>:")
    assert "1234" not in json.dumps(line)


def test_libraries_are_heard_when_it_matters_and_the_server_not_at_all():
    found = lines("""
        logging.getLogger("some.library").info("chatter")
        logging.getLogger("some.library").error("fault")
        logging.getLogger("uvicorn.error").error("Exception in ASGI application: my prompt")
    """)
    assert [line["message"] for line in found] == ["fault"]


def test_a_line_that_cannot_be_made_loses_itself_only():
    found = lines("""
        class Odd:
            def __str__(self): raise ValueError("odd")
        log.warning("%s", Odd())
        log.warning("%d", "x")
        log.warning("fields", extra={"fields": {"odd": object()}})
        log.warning("last")
    """)
    assert found[-1]["message"] == "last"


def test_a_sink_that_hangs_holds_nothing_up_and_nothing_alive():
    read, write = os.pipe()
    try:
        done = run(
            """
            begin = time.monotonic()
            def fail(body):
                raise ValueError("x" * 1000)
            for number in range(3000):
                body = bytes(1000)
                try:
                    fail(body)
                except ValueError as error:
                    log.exception("failed: %s", error)
            del body
            gc.collect()
            frames = sum(isinstance(one, type(sys._getframe())) for one in gc.get_objects())
            print(json.dumps({"seconds": time.monotonic() - begin, "frames": frames}))
            """,
            stderr=write,
        )
    finally:
        os.close(write)
        os.close(read)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["seconds"] < 5
    assert found["frames"] < 100


def test_a_sink_that_is_gone_is_no_fault():
    read, write = os.pipe()
    os.close(read)
    try:
        assert run("for _ in range(100): log.warning('x')", stderr=write).returncode == 0
    finally:
        os.close(write)


def test_a_line_is_written_without_a_lock(tmp_path):
    """Later versions of Python take a handler's lock whether there is one or not."""
    with (tmp_path / "log").open("wb") as file:
        handler = logs._Raw(file.fileno())
        handler.acquire = None
        assert handler.lock is None
        handler.handle(logging.makeLogRecord({"msg": "hello"}))
    assert json.loads((tmp_path / "log").read_text())["message"] == "hello"
