"""``harness models`` as a user starts and stops it."""

import json
import signal
import subprocess
import sys
import time

import openai
import pytest

from harness.local.weights import SMOLLM2

pytestmark = pytest.mark.models


def harness(*arguments):
    return [sys.executable, "-m", "harness", *arguments]


def test_list_names_the_models_and_where_they_are():
    done = subprocess.run(harness("models", "list", "--json"), capture_output=True, text=True, check=True)
    models = {model["name"]: model for model in json.loads(done.stdout)}
    assert models[SMOLLM2.name]["path"].endswith(".gguf")
    assert models["all-minilm-l6-v2"]["use"] == "embedding"


def test_serve_answers_until_ctrl_c_and_then_ends_quickly():
    command = harness(
        "models", "serve", "--port", "0", "--context", "256", "--threads", "1", "--name", "ours", "--json"
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        text = ""
        while not text.rstrip().endswith("\n}"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            text += line
        addresses = json.loads(text)
        with openai.OpenAI(base_url=addresses["openai"]["api_base"], api_key="none", max_retries=0) as client:
            assert [model.id for model in client.models.list()] == ["ours"]
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        assert process.wait(10) == 130
        assert time.monotonic() - begin < 5
        assert "Traceback" not in process.stderr.read()


def test_weights_that_are_no_model_end_with_a_message_and_no_traceback(tmp_path):
    fake = tmp_path / "fake.gguf"
    fake.write_bytes(b"nothing")
    done = subprocess.run(
        harness("models", "serve", "--port", "0", "--gguf", str(fake)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert "failed to load model" in done.stderr
    assert "Traceback" not in done.stderr
