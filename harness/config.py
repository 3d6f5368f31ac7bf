"""The Experiment: one YAML file that says what to compare, how to judge it and when to go.

Unknown keys are errors. Secrets are never part of it: a model names the environment variable that holds its key.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from harness.domain.decision import Bound, Criterion
from harness.domain.model import ModelSpec, Price
from harness.domain.observation import CANARY, PRODUCTION, REPLICA
from harness.errors import ConfigurationError

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
_SECRET = re.compile(r"(?i)(api[_-]?key|authorization|bearer|password|secret|token)$")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _unquoted_off(value: Any) -> Any:
    """YAML reads a bare ``off`` as false."""
    return "off" if value is False else value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Mapping_(_Section):  # noqa: N801  the YAML key is `mapping`; the class must not shadow typing's Mapping
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


class Redaction(_Section):
    """What is replaced by placeholders before anything is stored."""

    enabled: bool = True
    kinds: list[str] = [
        "email", "phone", "card", "iban", "national_id", "ip", "api_key", "bearer_token",
    ]  # fmt: skip
    patterns: dict[str, str] = {}
    """Own kinds: name to regular expression."""


class Sampling(_Section):
    """Which of the kept exchanges are used. One pass, deterministic in the seed and the exchange ids."""

    size: Annotated[int, Field(gt=0)] | None = None
    """At most this many exchanges; all when neither size nor rate is set."""
    rate: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int = 0
    stratify_by: Annotated[list[str], BeforeValidator(_as_list)] = []
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


class Traffic(_Section):
    """The export to read."""

    source: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]
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


class PriceSection(_Section):
    """US dollars per million tokens."""

    input_per_mtok: Annotated[float, Field(ge=0)]
    output_per_mtok: Annotated[float, Field(ge=0)]


class _Asked(_Section):
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
        )


class Model(_Asked):
    """A model as litellm names it."""

    model: str

    def spec(self) -> ModelSpec:
        """The model as the domain sees it."""
        return self._spec(self.model)


class Candidate(_Asked):
    """A model to ask, or a file of responses obtained elsewhere."""

    name: Annotated[str, Field(pattern=_NAME)]
    model: str | None = None
    responses: Annotated[list[str], BeforeValidator(_as_list)] | None = None
    """Files, globs or URLs with recorded responses, in any dialect; joined by exchange id."""
    dialect: str = "auto"
    mapping: Mapping_ | None = None

    @model_validator(mode="after")
    def _model_or_responses(self) -> Self:
        if (self.model is None) == (self.responses is None):
            raise ValueError(f"candidate {self.name!r} needs exactly one of `model` and `responses`")
        if self.name in {PRODUCTION, REPLICA, CANARY}:
            raise ValueError(f"{self.name!r} is a reserved name; call the candidate something else")
        return self

    def spec(self) -> ModelSpec:
        """The model as the domain sees it.

        Raises:
            ConfigurationError: the candidate is a file of responses.
        """
        if self.model is None:
            raise ConfigurationError(f"candidate {self.name!r} is a file of responses and cannot be asked")
        return self._spec(self.model)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes what is asked or answered; prices and names do not."""
        if self.responses is not None:
            files = [_identity(pattern) for pattern in self.responses]
            return digest({"files": files, "dialect": self.dialect, "mapping": _dump(self.mapping)})
        return spec_fingerprint(self.spec())


class Replica(Model):
    """Production asked again on a share of the requests, for the noise floor."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.1


class Replay(_Section):
    """How requests are sent."""

    concurrency: Annotated[int, Field(gt=0)] = 16
    """Upper bound of calls in flight per provider; the limiter adapts below it."""
    deadline_s: Annotated[float, Field(gt=0)] = 120.0
    """Total time of one attempt, from request to last token."""
    max_attempts: Annotated[int, Field(gt=0)] = 4
    max_retry_wait_s: Annotated[float, Field(ge=0)] = 120.0
    """Total time one request may spend between attempts; a longer Retry-After ends it."""


class Budget(_Section):
    """Where to stop. A stopped run keeps a valid sample and goes on when the limit is raised."""

    candidates_usd: Annotated[float, Field(ge=0)] | None = None
    judges_usd: Annotated[float, Field(ge=0)] | None = None
    time_limit_s: Annotated[float, Field(gt=0)] | None = None
    """Time for asking the candidates, and as much again for judging."""
    allow_unpriced: bool = False
    """Go on, uncounted, with models whose price is unknown although a budget is set."""


class JudgeSection(_Section):
    """A judge by registry name; `options` are its own fields."""

    use: str
    name: str | None = None
    options: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """Name within the experiment."""
        return self.name or self.use


class CriterionSection(_Section):
    """One go/no-go rule: a metric and exactly one bound."""

    metric: str
    below: float | None = None
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    required: bool = True

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if sum(getattr(self, bound.value) is not None for bound in Bound) != 1:
            raise ValueError(f"criterion {self.metric!r} needs exactly one of below, above, at_least, at_most")
        return self

    def criterion(self) -> Criterion:
        """The rule as the domain sees it."""
        bound = next(bound for bound in Bound if getattr(self, bound.value) is not None)
        return Criterion(metric=self.metric, bound=bound, threshold=getattr(self, bound.value), required=self.required)


DEFAULT_CRITERIA = (
    CriterionSection(metric="latency_p95_ratio", below=1.2),
    CriterionSection(metric="error_rate_difference", below=0.0),
    CriterionSection(metric="win_rate", above=0.5),
    CriterionSection(metric="similarity", above=0.95),
    CriterionSection(metric="coverage", above=10_000),
)


class DecisionSection(_Section):
    """The rule that turns estimates into GO, NO_GO or INCONCLUSIVE."""

    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    cluster_by: str | None = None
    """Unit of independent evidence: session, user, metadata.<key>; by default the session, else the exchange."""
    criteria: list[CriterionSection] = list(DEFAULT_CRITERIA)


class ReportSection(_Section):
    """What the report shows."""

    examples: Annotated[int, Field(ge=0, le=200)] = 10
    """Worst and best pairs each."""
    slices: list[str] = ["model", "has_tools", "turns", "prompt_length", "script"]
    """Attributes to break results down by; metadata.<key> for free metadata, tag for tags."""
    min_slice: Annotated[int, Field(gt=0)] = 20
    show_text: bool = True
    """Whether messages and answers appear in the report at all."""


DEFAULT_JUDGES = tuple(
    JudgeSection(use=name) for name in ("exact", "similarity", "length", "refusal", "structure", "style")
)


class Experiment(_Section):
    """What to compare, how to judge it and when to go."""

    name: Annotated[str, Field(pattern=_NAME)]
    traffic: Traffic
    candidates: Annotated[list[Candidate], Field(min_length=1)]
    replica: Replica | None = None
    judges: list[JudgeSection] = list(DEFAULT_JUDGES)
    canaries: Annotated[Literal["stop", "warn", "off"], BeforeValidator(_unquoted_off)] = "stop"
    """What becomes of a model judge that fails pairs with a known answer: it reads no pairs, or we say so, or such
    pairs are not read at all."""
    replay: Replay = Replay()
    budget: Budget = Budget()
    decision: DecisionSection = DecisionSection()
    report: ReportSection = ReportSection()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (
            ("candidate", [c.name for c in self.candidates]),
            ("judge", [j.label for j in self.judges]),
        ):
            double = {name for name in names if names.count(name) > 1}
            if double:
                raise ValueError(f"two {what}s are called {sorted(double)[0]!r}; give each its own `name`")
        return self

    @property
    def ingest_fingerprint(self) -> str:
        """Hash of everything that decides which exchanges are sampled and how they are stored."""
        traffic = self.traffic.model_dump(mode="json", exclude={"requests_per_month"})
        return digest({"traffic": traffic, "files": [_identity(pattern) for pattern in self.traffic.source]})

    @property
    def default_run_id(self) -> str:
        """The same experiment on the same export always continues the same run."""
        return f"{self.name}-{self.ingest_fingerprint[:8]}"


class Settings(BaseSettings):
    """Process settings from HARNESS_* variables."""

    model_config = SettingsConfigDict(env_prefix="HARNESS_", extra="ignore")

    store: str = "sqlite:///runs/harness.db"
    """Store URL: sqlite:///path or postgresql://user@host/database."""
    runs_dir: Path = Path("runs")
    """Folder for reports, rejects files and the default store."""


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file; relative paths in it are relative to the file.

    Raises:
        ConfigurationError: the file is missing, not YAML, or says something the product does not know.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file; `harness init {path}` writes a commented one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error})") from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: expected a mapping with `name`, `traffic` and `candidates`")
    return parse_experiment(raw, base=path.parent, origin=str(path))


def parse_experiment(raw: Mapping[str, Any], *, base: Path = Path(), origin: str = "experiment") -> Experiment:
    """Validate an experiment and resolve its relative paths against ``base``.

    Raises:
        ConfigurationError: with every problem on its own line, named by its place in the file.
    """
    try:
        return Experiment.model_validate(_resolve(dict(raw), base))
    except ValidationError as error:
        problems = "\n".join(
            f"  {'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise ConfigurationError(f"{origin} is not a valid experiment:\n{problems}") from None


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


def digest(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of a value's canonical JSON."""
    canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    return hashlib.sha256(canonical).hexdigest()[:16]


def _dump(section: BaseModel | None) -> Any:
    return section.model_dump(mode="json") if section is not None else None


def _is_remote(pattern: str) -> bool:
    return "://" in pattern


def _resolve(raw: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make local paths absolute and read `@file` prompts, so that the experiment means the same from anywhere."""

    def path_of(value: Any) -> Any:
        if isinstance(value, str):
            return value if _is_remote(value) or Path(value).is_absolute() else os.path.normpath(base / value)
        return [path_of(item) for item in value] if isinstance(value, list) else value

    def prompt_of(section: dict[str, Any]) -> None:
        prompt = section.get("system_prompt")
        if isinstance(prompt, str) and prompt.startswith("@"):
            file = base / prompt[1:]
            try:
                section["system_prompt"] = file.read_text(encoding="utf-8")
            except OSError as error:
                raise ConfigurationError(f"system_prompt: {file} cannot be read ({error.strerror})") from error

    traffic = raw.get("traffic")
    if isinstance(traffic, dict) and "source" in traffic:
        raw["traffic"] = traffic | {"source": path_of(traffic["source"])}
    candidates = raw.get("candidates")
    if isinstance(candidates, list):
        raw["candidates"] = [dict(item) if isinstance(item, dict) else item for item in candidates]
        for item in raw["candidates"]:
            if isinstance(item, dict):
                if "responses" in item:
                    item["responses"] = path_of(item["responses"])
                prompt_of(item)
    judges = raw.get("judges")
    if isinstance(judges, list):
        raw["judges"] = [_judge_section(item, path_of) for item in judges]
    return raw


def _judge_section(item: Any, path_of: Any) -> Any:
    """A bare name is a judge without options; `file` and `prompt_file` options are paths."""
    if isinstance(item, str):
        return {"use": item}
    if isinstance(item, dict) and isinstance(item.get("options"), dict):
        options = item["options"]
        paths = {key: path_of(options[key]) for key in ("file", "prompt_file") if key in options}
        return item | {"options": options | paths}
    return item


def _identity(pattern: str) -> list[list[Any]]:
    """Size and edges of the files behind a pattern: cheap, and changes when an export does."""
    if _is_remote(pattern):
        return [[pattern]]
    path = Path(pattern)
    files = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)) if path.anchor else pattern))
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    identities: list[list[Any]] = []
    for file in files:
        if not file.is_file():
            continue
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(1 << 20)
            stream.seek(max(0, size - (1 << 20)))
            tail = stream.read(1 << 20)
        identities.append([file.name, size, hashlib.sha256(head + tail).hexdigest()])
    return identities
