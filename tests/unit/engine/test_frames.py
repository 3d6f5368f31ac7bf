import pytest

from harness.domain.model import ModelError
from harness.domain.observation import CallError, ErrorKind
from harness.engine.frames import Unpacker, error_fields, error_of, packed
from harness.errors import ConfigurationError, InfrastructureError


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_messages_come_out_whole_however_the_bytes_arrive(size: int) -> None:
    messages = [(1, "a" * 50), (2,), (3, {"k": [1.5, None]})]
    data = b"".join(map(packed, messages))
    unpacker, found = Unpacker(), []
    for at in range(0, len(data), size):
        found += unpacker.feed(data[at : at + size])
    assert found == messages


def test_a_model_error_travels_whole() -> None:
    error = ModelError(
        CallError(kind=ErrorKind.RATE_LIMIT, message="slow down", code="429"),
        latency_ms=12.5, queue_ms=1.0, retry_ms=2.0, attempts=3, cost_usd=0.25, retry_after_s=7.0,
        dropped_params=("top_k",),
    )  # fmt: skip
    back = error_of(error_fields(error))
    assert isinstance(back, ModelError)
    assert vars(back) == vars(error)
    assert str(back) == str(error)


@pytest.mark.parametrize("kind", [ConfigurationError, InfrastructureError])
def test_a_broken_set_up_stays_what_it_is(kind: type[Exception]) -> None:
    back = error_of(error_fields(kind("set OPENAI_API_KEY")))
    assert (type(back), str(back)) == (kind, "set OPENAI_API_KEY")


def test_any_other_error_names_itself() -> None:
    back = error_of(error_fields(KeyError("choices")))
    assert isinstance(back, RuntimeError)
    assert "KeyError: 'choices'" in str(back)
