"""Streams that were cut, and what litellm may not download."""

import sys
from types import SimpleNamespace

import pytest

from harness.models import litellm_client, surfaces
from harness.models.restraints import DOWNLOADS, Downloads
from harness.models.surfaces import Chunks, CutStream

ADDRESS = "http://127.0.0.1:9/cat.png"


class Wrapper:
    """litellm's stream: chunks, the last of which may have a reason that the provider did not give."""

    def __init__(self, *reasons, received=None, fails=None):
        self._reasons, self._fails = list(reasons), fails
        self.received_finish_reason, self.intermittent_finish_reason = received, None
        self.logging_obj, self.closed = object(), False

    async def __anext__(self):
        if self._reasons:
            return SimpleNamespace(choices=[SimpleNamespace(finish_reason=self._reasons.pop(0))])
        raise self._fails or StopAsyncIteration

    async def aclose(self):
        self.closed = True


async def reasons(chunks):
    return [chunk.choices[0].finish_reason async for chunk in chunks]


async def test_a_stream_that_ended_is_passed_on_whole():
    chunks = Chunks(Wrapper(None, "stop", received="stop"))
    await chunks.begin()
    assert await reasons(chunks) == [None, "stop"]
    assert chunks.error is None


@pytest.mark.parametrize(
    "wrapper",
    [Wrapper(None, "stop"), Wrapper(None), Wrapper(None, fails=CutStream())],
    ids=["made up", "none", "raised"],
)
async def test_a_stream_that_was_cut_fails(wrapper):
    chunks = Chunks(wrapper)
    await chunks.begin()
    with pytest.raises(CutStream):
        await reasons(chunks)
    assert isinstance(chunks.error, CutStream)
    await chunks.aclose()
    assert wrapper.closed


async def test_a_stream_without_a_first_chunk_does_not_begin():
    with pytest.raises(CutStream):
        await Chunks(Wrapper()).begin()


@pytest.fixture
def restrained():
    """litellm as the canary has it, until the end of the test."""
    litellm = litellm_client.library()
    from litellm.litellm_core_utils import token_counter  # noqa: F401
    from litellm.litellm_core_utils.prompt_templates import factory, image_handling  # noqa: F401

    kept = [
        (module, name, value) for loaded, module in list(sys.modules.items()) if loaded.startswith("litellm.")
        for name, value in vars(module).items() if name in {"safe_get", "async_safe_get"}
    ]  # fmt: skip
    assert surfaces.restrain()
    token = DOWNLOADS.set(Downloads())
    yield litellm
    DOWNLOADS.reset(token)
    for module, name, value in kept:
        setattr(module, name, value)


@pytest.mark.parametrize("provider", ["gemini/gemini-2.5-pro", "bedrock/anthropic.claude-v2", "ollama/llava"])
async def test_litellm_downloads_nothing_for_a_message(restrained, provider):
    said = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ADDRESS}}]}]
    with pytest.raises(Exception, match=r"nothing is downloaded|ImageFetch|URL"):
        await restrained.acompletion(
            model=provider, messages=said, api_key="k", api_base="http://127.0.0.1:9", aws_access_key_id="a",
            aws_secret_access_key="b", aws_region_name="us-east-1",
        )  # fmt: skip
    assert DOWNLOADS.get().refused


def test_litellm_downloads_nothing_to_count_tokens(restrained):
    from litellm.litellm_core_utils.token_counter import get_image_dimensions

    with pytest.raises(Exception, match=r"."):
        get_image_dimensions(ADDRESS)
    assert DOWNLOADS.get().refused
