"""The export to read."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from harness.config.base import Section, as_list


class Mapping_(Section):  # noqa: N801  the YAML key is `mapping`; the class must not shadow typing's Mapping
    """Column names for tables no dialect knows (`dialect: mapping`). Dotted names reach into nested records."""

    prompt: str | None = None
    messages: str | None = None
    system_prompt: str | None = None
    response: str
    id: str | None = None
    model: str | None = None
    default_model: str | None = None
    latency: str | None = None
    latency_unit: Literal["ms", "s", "us", "ns"] = "ms"
    ttft: str | None = None
    tokens_in: str | None = None
    tokens_out: str | None = None
    cost: str | None = None
    cost_unit: Literal["usd", "cents"] = "usd"
    timestamp: str | None = None
    session: str | None = None
    user: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    tools: str | None = None
    params: str | None = None
    tags: str | None = None
    metadata: list[str] = []

    @model_validator(mode="after")
    def _one_request(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("name exactly one of `prompt` (a text column) and `messages` (a chat column)")
        return self


class Redaction(Section):
    """What is replaced by placeholders before anything is stored."""

    enabled: bool = True
    kinds: list[str] = [
        "email", "phone", "card", "iban", "national_id", "ip", "api_key", "bearer_token",
    ]  # fmt: skip
    patterns: dict[str, str] = {}
    """Own kinds: name to regular expression."""


class Sampling(Section):
    """Which of the kept exchanges are used. One pass, deterministic in the seed and the exchange ids."""

    size: Annotated[int, Field(gt=0)] | None = None
    """At most this many exchanges; all when neither size nor rate is set."""
    rate: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int = 0
    stratify_by: Annotated[list[str], BeforeValidator(as_list)] = []
    """Fields to sample evenly over: model, user, session, has_tools, turns, error, metadata.<key>."""
    since: datetime | None = None
    until: datetime | None = None
    deduplicate: bool = True
    """Keep one of several exchanges that asked exactly the same (messages, tools, parameters, model)."""

    @model_validator(mode="after")
    def _size_or_rate(self) -> Self:
        if self.size is not None and self.rate is not None:
            raise ValueError("set `size` or `rate`, not both")
        return self


class Traffic(Section):
    """The export to read."""

    source: Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
    """Files, globs or fsspec URLs, read together (a batch's input and output, traces and logs)."""
    dialect: str = "auto"
    mapping: Mapping_ | None = None
    redaction: Redaction = Redaction()
    sample: Sampling = Sampling()
    requests_per_month: Annotated[float, Field(gt=0)] | None = None
    """Production's volume, for the monthly cost; extrapolated from the export's time span when absent."""

    @model_validator(mode="after")
    def _mapping_goes_with_its_dialect(self) -> Self:
        if (self.dialect == "mapping") != (self.mapping is not None):
            raise ValueError("`mapping:` and `dialect: mapping` go together")
        return self
