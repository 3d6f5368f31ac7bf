"""The live experiment: one YAML file for the gateway, the worker and everything that is decided from their traffic."""

from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from harness.config.arms import Candidate, Replica
from harness.config.base import NAME, Section, as_list
from harness.config.decision import DecisionSection
from harness.config.experiment import Experiment, ReportSection, problems, resolve, unquoted_off
from harness.config.traffic import Redaction
from harness.config.work import DEFAULT_JUDGES, Budget, JudgeSection, RetentionSection
from harness.errors import ConfigurationError

Rate = Annotated[float, Field(ge=0, le=1)]
CREDENTIAL_HEADERS = frozenset({
    "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-goog-api-key",
    "openai-organization", "openai-project",
})  # fmt: skip
"""Never stored, and so never named in a configuration."""


class GatewaySection(Section):
    """The process in front of production."""

    upstream: str
    """Production's address, such as https://api.openai.com; the path of a request is put behind it as it came."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    processes: Annotated[int, Field(gt=0, le=64)] = 1
    connect_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    read_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    """Longest silence of production, before or within an answer."""
    client_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest silence of a client in the middle of its request."""
    max_request_bytes: Annotated[int, Field(gt=0)] = 256 << 20
    """Larger requests are refused with 413; what is mirrored has its own, lower limit."""
    max_connections: Annotated[int, Field(gt=0)] = 4096
    """Connections of clients to one process; beyond it the gateway answers 503."""
    drain_s: Annotated[float, Field(ge=0)] = 30.0
    """How long requests in flight may go on after a request to stop."""

    @field_validator("upstream")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{value!r} is not an http or https address")
        _ = parts.port  # raises when it is none
        if parts.query or parts.fragment or parts.username:
            raise ValueError("an address without query, fragment and credentials is wanted")
        return value.rstrip("/")


class AdminSection(Section):
    """Health, metrics and control, on a port of their own."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9090
    token_env: str = "HARNESS_ADMIN_TOKEN"  # noqa: S105  the name of the variable, not the token
    """Environment variable with the token that changes need; without it nothing can be changed over HTTP."""


def _fits(value: str | None, pattern: str) -> bool:
    return value is not None and fnmatchcase(value, pattern)


class MirrorRule(Section):
    """Which requests are mirrored at which rate; the first rule that fits a request decides."""

    paths: Annotated[list[str], BeforeValidator(as_list)] = []
    """Patterns such as /v1/chat/*; any path when empty."""
    headers: dict[str, str] = {}
    """Header to pattern; all must fit. A header that is absent fits nothing."""
    fields: dict[str, str] = {}
    """Field of the request's JSON body to pattern, with dots into objects: `model: gpt-4*`, `metadata.tier: gold`."""
    rate: Rate
    """0 denies."""

    @field_validator("headers")
    @classmethod
    def _no_credentials(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            _harmless(name)
        return value

    def fits(self, path: str, headers: Mapping[str, str], fields: Mapping[str, str] = {}) -> bool:
        """Whether the rule is about this request; header names in lower case."""
        if self.paths and not any(fnmatchcase(path, pattern) for pattern in self.paths):
            return False
        if not all(_fits(headers.get(name.lower()), pattern) for name, pattern in self.headers.items()):
            return False
        return all(_fits(fields.get(name), pattern) for name, pattern in self.fields.items())


class Mirror(Section):
    """Which requests are mirrored. This section is taken in while the gateway runs."""

    rate: Rate
    """Share of the requests that is mirrored, where no rule says otherwise."""
    salt: Annotated[str, Field(min_length=1)] | None = None
    """Another salt draws another sample; the name of the experiment when not given."""
    sticky: Literal["request", "conversation", "user"] = "request"
    """What is sampled as a whole."""
    conversation_header: str = "x-conversation-id"
    """Header that names the conversation; it is one cluster in every interval."""
    user_header: str = "x-user-id"
    conversation_field: str | None = None
    """Field of the request's JSON body that names the conversation where the header does not: `metadata.session_id`."""
    user_field: str | None = None
    metadata_headers: list[str] = []
    """Headers to keep as metadata, for slices."""
    rules: list[MirrorRule] = []
    enabled: bool = True
    starts: datetime | None = None
    ends: datetime | None = None
    """When mirroring stops by itself; an experiment without an end goes on."""
    max_request_bytes: Annotated[int, Field(gt=0)] = 8 << 20
    max_response_bytes: Annotated[int, Field(gt=0)] = 4 << 20
    production_failures: bool = True
    """Whether requests on which production failed are mirrored too."""

    @field_validator("conversation_header", "user_header")
    @classmethod
    def _no_credential(cls, value: str) -> str:
        return _harmless(value)

    @field_validator("metadata_headers")
    @classmethod
    def _no_credentials(cls, value: list[str]) -> list[str]:
        return [_harmless(name) for name in value]

    @field_validator("starts", "ends")
    @classmethod
    def _with_zone(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time zone is needed, such as 2026-01-31T08:00:00Z")
        return value

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.starts and self.ends and self.ends <= self.starts:
            raise ValueError("`ends` is not after `starts`")
        return self


class SpoolSection(Section):
    """The files between gateway and worker; they hold requests and answers as they were."""

    folder: str = "spool"
    max_bytes: Annotated[int, Field(gt=0)] = 1 << 30
    max_age_s: Annotated[float, Field(gt=0)] = 86_400.0
    """Older records are removed unread."""
    segment_bytes: Annotated[int, Field(gt=0)] = 16 << 20
    queue_records: Annotated[int, Field(gt=0)] = 8_192
    queue_bytes: Annotated[int, Field(gt=0)] = 64 << 20
    flush_s: Annotated[float, Field(gt=0, le=0.05)] = 0.02


class BreakerSection(Section):
    """When to stop asking a candidate that is down."""

    consecutive: Annotated[int, Field(gt=0)] = 5
    """Failures of the deployment in a row that open it."""
    window: Annotated[int, Field(gt=1)] = 20
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of such failures among the last ``window`` outcomes that opens it."""
    open_s: Annotated[float, Field(gt=0)] = 30.0
    """First pause; doubles with every probe that fails."""
    max_open_s: Annotated[float, Field(gt=0)] = 600.0


class WorkerSection(Section):
    """The process that asks the candidates."""

    in_flight: Annotated[int, Field(gt=0)] = 8
    """Calls in flight per candidate."""
    deadline_s: Annotated[float, Field(gt=0)] = 120.0
    """From taking a request up to the last byte of the candidate's answer."""
    max_response_bytes: Annotated[int, Field(gt=0)] = 4 << 20
    daily_usd: Annotated[float, Field(ge=0)] | None = None
    """What each candidate may cost per UTC day; unlimited when not given."""
    judges_daily_usd: Annotated[float, Field(ge=0)] | None = None
    max_samples: Annotated[int, Field(gt=0)] = 100_000
    """Exchanges after which the experiment takes no more, whatever they cost."""
    quota_pause_s: Annotated[float, Field(gt=0)] = 60.0
    """How long candidates rest after production was told to slow down (429)."""
    look_every_s: Annotated[float, Field(gt=0)] = 30.0
    """How often decisions and estimates are renewed."""
    breaker: BreakerSection = BreakerSection()


class CanarySection(Section):
    """Candidates that answer users in a gradual rollout; without this section no gateway ever serves one."""

    first_byte_s: Annotated[float, Field(gt=0)] = 10.0
    """A candidate that has not begun to answer by then is given up, and production answers."""
    whole_s: Annotated[float, Field(gt=0)] = 60.0
    """An answer that is not streamed has its first byte when all of it is there; by then, or production answers."""
    deadline_s: Annotated[float, Field(gt=0)] = 120.0
    """From the request up to the last byte of the candidate's answer."""
    max_response_bytes: Annotated[int, Field(gt=0)] = 4 << 20
    """Of an answer that is not streamed; when the candidate's is larger, production answers."""
    lease_s: Annotated[float, Field(gt=0)] = 60.0
    """How long a gateway may act on what it last heard from the store."""


class AlertsSection(Section):
    """Who is told when something needs a person."""

    urls_env: str = "HARNESS_ALERT_URLS"
    """Environment variable with apprise addresses, separated by spaces; they hold tokens, so they are not put here."""
    repeat_s: Annotated[float, Field(gt=0)] = 3_600.0
    """The same alert is not sent again within this time."""
    error_rate: Rate = 0.2
    """Share of failed candidate calls, among the last 50, that alerts."""
    latency_ratio: Annotated[float, Field(gt=1)] = 2.0
    """Median latency of a candidate over production's that alerts."""
    similarity_below: Rate = 0.5
    """Median similarity of the last 50 pairs that alerts."""
    nothing_mirrored_s: Annotated[float, Field(gt=0)] = 300.0
    """Time with eligible requests and none mirrored that alerts."""
    gone_s: Annotated[float, Field(gt=0)] | None = None
    """An alert that has not been seen for this long is over; 360 s, or a minute more than `nothing_mirrored_s`, when
    not given: the slowest of them takes its time to be seen."""

    @property
    def over_after_s(self) -> float:
        """How long an alert is remembered that is not seen any more."""
        return max(360.0, self.nothing_mirrored_s + 60.0) if self.gone_s is None else self.gone_s


class Live(Section):
    """A live experiment: where production is, what is mirrored, who is asked and how it is decided."""

    name: Annotated[str, Field(pattern=NAME)]
    gateway: GatewaySection
    mirror: Mirror
    spool: SpoolSection = SpoolSection()
    admin: AdminSection = AdminSection()
    worker_admin: AdminSection = AdminSection(port=9091)
    worker: WorkerSection = WorkerSection()
    canary: CanarySection | None = None
    alerts: AlertsSection = AlertsSection()
    redaction: Redaction = Redaction()
    requests_per_month: Annotated[float, Field(gt=0)] | None = None
    candidates: Annotated[list[Candidate], Field(min_length=1, max_length=8)]
    replica: Replica | None = None
    judges: list[JudgeSection] = list(DEFAULT_JUDGES)
    canaries: Annotated[Literal["stop", "warn", "off"], BeforeValidator(unquoted_off)] = "stop"
    budget: Budget = Budget()
    decision: DecisionSection = DecisionSection()
    report: ReportSection = ReportSection()
    retention: RetentionSection = RetentionSection()

    @model_validator(mode="after")
    def _everyone_can_be_asked(self) -> Self:
        for arm in (*self.candidates, *([self.replica] if self.replica else [])):
            if arm.model is None:
                raise ValueError("a live candidate needs `model`; recorded responses are for exports")
        return self

    @property
    def salt(self) -> str:
        """What the sample is drawn with."""
        return self.mirror.salt or self.name

    @property
    def experiment(self) -> Experiment:
        """What the same scoring, judging and deciding as offline works from."""
        return Experiment.model_validate(
            {
                "name": self.name,
                "traffic": {
                    # Not the folder: what is in it changes all the time, and the run stays the same.
                    "source": [f"spool://{self.name}"],
                    "dialect": "spool",
                    "redaction": self.redaction,
                    "sample": {"deduplicate": False},
                    "requests_per_month": self.requests_per_month,
                },
                "replay": {
                    "concurrency": self.worker.in_flight,
                    "deadline_s": self.worker.deadline_s,
                    "max_attempts": 1,
                },
                **{
                    name: getattr(self, name)
                    for name in (
                        "candidates", "replica", "judges", "canaries", "budget", "decision", "report", "retention",
                    )
                },
            }
        )  # fmt: skip


def load_live(path: Path) -> Live:
    """Read a live experiment; relative paths in it are relative to the file.

    Raises:
        ConfigurationError: the file is missing, not YAML, or says something the product does not know.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file; `harness init --live {path}` writes a commented one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error})") from error
    except (yaml.YAMLError, ValueError) as error:  # a date that cannot be, such as 2026-02-30, is no YAMLError
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: expected a mapping with `name`, `gateway`, `mirror` and `candidates`")
    return parse_live(raw, base=path.parent, origin=str(path))


def is_live(path: Path) -> bool:
    """Whether a file is a live experiment and not one on an export; false of what cannot be read."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(raw, dict) and "gateway" in raw and "traffic" not in raw


def parse_live(raw: Mapping[str, Any], *, base: Path = Path(), origin: str = "live experiment") -> Live:
    """Validate a live experiment and resolve its relative paths against ``base``.

    Raises:
        ConfigurationError: with every problem on its own line, named by its place in the file.
    """
    resolved = resolve(dict(raw), base)
    spool = resolved.get("spool", {})
    if isinstance(spool, dict):
        resolved["spool"] = spool | {"folder": str((base / str(spool.get("folder", "spool"))).absolute())}
    try:
        live = Live.model_validate(resolved)
        _ = live.experiment
    except ValidationError as error:
        raise ConfigurationError(f"{origin} is not a valid live experiment:\n{problems(error)}") from None
    return live


def _harmless(name: str) -> str:
    if name.lower() in CREDENTIAL_HEADERS:
        raise ValueError(f"{name} holds credentials, which are never stored; name another header")
    return name.lower()
