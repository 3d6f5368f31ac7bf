"""Who is asked: candidates and the replica."""

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from harness.config.base import NAME, Section, as_list, digest, dump, identity
from harness.config.traffic import Mapping_
from harness.domain.model import BatchTerms, ModelSpec, Price
from harness.domain.observation import CANARY, PRODUCTION, REPLICA
from harness.errors import ConfigurationError

_SECRET = re.compile(r"(?i)(api[_-]?key|authorization|bearer|password|secret|token)$")


class PriceSection(Section):
    """US dollars per million tokens."""

    input_per_mtok: Annotated[float, Field(ge=0)]
    output_per_mtok: Annotated[float, Field(ge=0)]


class BatchSection(Section):
    """How requests are handed to the vendor's batch API."""

    max_requests: Annotated[int, Field(gt=0, le=50_000)] = 10_000
    """A batch is submitted when it holds so many."""
    max_mb: Annotated[float, Field(gt=0, le=190)] = 100.0
    """A batch is submitted before it is larger."""
    linger_s: Annotated[float, Field(ge=0)] = 5.0
    """A batch that is not full is submitted when nothing was added for so long."""
    poll_s: Annotated[float, Field(gt=0)] = 30.0
    """Time between two looks at a batch."""
    settle_s: Annotated[float, Field(ge=0)] = 60.0
    """How long a batch whose submission was not answered may take to show up at the vendor."""
    price_factor: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Price of a request in a batch as a share of the list price."""


class _Asked(Section):
    """Everything but the name of a model that is asked."""

    params: dict[str, Any] = {}
    """Settings that override the recorded ones; null removes one."""
    system_prompt: str | None = None
    """Replaces the recorded system prompt; `@path` reads a file beside the experiment."""
    api_base: str | None = None
    api_key_env: str | None = None
    """Environment variable that holds the key."""
    price: PriceSection | None = None
    stream: bool = True
    """Streaming is what measures the time to first token."""
    batch: bool | BatchSection = False
    """Ask through the vendor's batch API: half the price, answers within a day, no latency."""

    @model_validator(mode="after")
    def _no_secrets(self) -> Self:
        for key in self.params:
            if _SECRET.search(key):
                raise ValueError(f"`{key}` looks like a secret; name its environment variable in `api_key_env`")
        return self

    def _spec(self, model: str) -> ModelSpec:
        return ModelSpec(
            model=model,
            params=dict(self.params),
            system_prompt=self.system_prompt,
            api_base=self.api_base,
            api_key_env=self.api_key_env,
            price=Price(**self.price.model_dump()) if self.price else None,
            stream=self.stream,
            batch=self._terms,
        )

    @property
    def _terms(self) -> BatchTerms | None:
        if isinstance(self.batch, BatchSection):
            return BatchTerms(**self.batch.model_dump())
        return BatchTerms() if self.batch else None


class Model(_Asked):
    """A model as litellm names it."""

    model: str

    def spec(self) -> ModelSpec:
        """The model as the domain sees it."""
        return self._spec(self.model)


class _Answering(_Asked):
    """A model to ask, or files of responses obtained elsewhere."""

    model: str | None = None
    responses: Annotated[list[str], BeforeValidator(as_list)] | None = None
    """Files, globs or URLs with recorded responses, in any dialect; joined by exchange id."""
    dialect: str = "auto"
    mapping: Mapping_ | None = None

    @model_validator(mode="after")
    def _model_or_responses(self) -> Self:
        if (self.model is None) == (self.responses is None):
            raise ValueError(f"{self._label} needs exactly one of `model` and `responses`")
        return self

    @property
    def _label(self) -> str:
        return "it"

    def spec(self) -> ModelSpec:
        """The model as the domain sees it.

        Raises:
            ConfigurationError: it is a file of responses.
        """
        if self.model is None:
            raise ConfigurationError(f"{self._label} is a file of responses and cannot be asked")
        return self._spec(self.model)

    @property
    def title(self) -> str:
        """What answers: the litellm name, or the files of recorded responses."""
        return self.model if self.model is not None else ", ".join(self.responses or ())

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes what is asked or answered; prices and names do not."""
        if self.responses is not None:
            files = [identity(pattern) for pattern in self.responses]
            return digest({"files": files, "dialect": self.dialect, "mapping": dump(self.mapping)})
        return spec_fingerprint(self.spec())


class Candidate(_Answering):
    """Who wants to take over from production."""

    name: Annotated[str, Field(pattern=NAME)]
    family: Annotated[str, Field(pattern=NAME)] | None = None
    """What counts as the same candidate across changes of model, prompt and settings; its name when not given."""

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        if self.name in {PRODUCTION, REPLICA, CANARY}:
            raise ValueError(f"{self.name!r} is a reserved name; call the candidate something else")
        return self

    @property
    def _label(self) -> str:
        return f"candidate {self.name!r}"


class Replica(_Answering):
    """Production asked again on a share of the requests, for the noise floor."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.1

    @property
    def _label(self) -> str:
        return "replica"


def spec_fingerprint(spec: ModelSpec) -> str:
    """Hash of what is asked of a model; its price and the name of its key variable do not change the answer."""
    return digest(
        {
            "model": spec.model,
            "params": spec.params,
            "system_prompt": spec.system_prompt,
            "api_base": spec.api_base,
            "stream": spec.stream,
        }
    )
