"""The Experiment: one YAML file that says what to compare, how to judge it and when to go.

Unknown keys are errors. Secrets are never part of it: a model names the environment variable that holds its key.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, NonNegativeFloat, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from harness.config.arms import Candidate, Replica
from harness.config.base import NAME, Section, digest, identity, is_remote
from harness.config.decision import DecisionSection
from harness.config.traffic import Traffic
from harness.config.work import DEFAULT_JUDGES, Budget, JudgeSection, Replay, RetentionSection
from harness.errors import ConfigurationError


def unquoted_off(value: Any) -> Any:
    """YAML reads a bare ``off`` as false."""
    return "off" if value is False else value


class ReportSection(Section):
    """What the report shows."""

    examples: Annotated[int, Field(ge=0, le=200)] = 10
    """Worst and best pairs each."""
    slices: list[str] = ["model", "has_tools", "turns", "prompt_length", "answer_length", "language", "script"]
    """Attributes to break results down by; metadata.<key> for free metadata, tag for tags, topic for what it is about.

    Topics take an embedding of every request, which is minutes for 10,000, so they are found only when asked for.
    """
    min_slice: Annotated[int, Field(gt=0)] = 20
    show_text: bool = True
    """Whether messages and answers appear in the report at all."""


class Experiment(Section):
    """What to compare, how to judge it and when to go."""

    name: Annotated[str, Field(pattern=NAME)]
    traffic: Traffic
    candidates: Annotated[list[Candidate], Field(min_length=1)]
    replica: Replica | None = None
    judges: list[JudgeSection] = list(DEFAULT_JUDGES)
    canaries: Annotated[Literal["stop", "warn", "off"], BeforeValidator(unquoted_off)] = "stop"
    """What becomes of a model judge that fails pairs with a known answer: it reads no pairs, or we say so, or such
    pairs are not read at all."""
    replay: Replay = Replay()
    budget: Budget = Budget()
    decision: DecisionSection = DecisionSection()
    report: ReportSection = ReportSection()
    retention: RetentionSection = RetentionSection()

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
        return self._traffic_digest(exclude={"requests_per_month": True})

    @property
    def sequence(self) -> str:
        """Hash of what decides the order of the traffic; a larger sample of the same export has the same one."""
        return self._traffic_digest(exclude={"requests_per_month": True, "sample": {"size", "rate"}})

    def _traffic_digest(self, exclude: dict[str, Any]) -> str:
        """By what the files hold, not by how their place is written: a run is found again from any folder."""
        traffic = self.traffic.model_dump(mode="json", exclude={"source": True, **exclude})
        return digest({"traffic": traffic, "files": [identity(pattern) for pattern in self.traffic.source]})

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
    store_patience_s: NonNegativeFloat = 60.0
    """How long a run waits for a PostgreSQL server that was lost or restarts, each time, seconds."""


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
    except (yaml.YAMLError, ValueError) as error:  # a date that cannot be, such as 2026-02-30, is no YAMLError
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
        return Experiment.model_validate(resolve(dict(raw), base))
    except ValidationError as error:
        raise ConfigurationError(f"{origin} is not a valid experiment:\n{problems(error)}") from None


def problems(error: ValidationError) -> str:
    """Every problem of a file on its own line, named by its place."""
    return "\n".join(
        f"  {'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    )


def resolve(raw: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make local paths absolute and read `@file` prompts, so that the experiment means the same from anywhere."""
    resolved = dict(raw)
    traffic = raw.get("traffic")
    if isinstance(traffic, dict) and "source" in traffic:
        resolved["traffic"] = traffic | {"source": _path(traffic["source"], base)}
    if isinstance(raw.get("candidates"), list):
        resolved["candidates"] = [_answering(item, base) for item in raw["candidates"]]
    if "replica" in raw:
        resolved["replica"] = _answering(raw["replica"], base)
    if isinstance(raw.get("judges"), list):
        resolved["judges"] = [_judge_section(item, base) for item in raw["judges"]]
    return resolved


def _path(value: Any, base: Path) -> Any:
    if isinstance(value, str):
        return value if is_remote(value) or Path(value).is_absolute() else os.path.normpath(base / value)
    return [_path(item, base) for item in value] if isinstance(value, list) else value


def _answering(item: Any, base: Path) -> Any:
    """A candidate or the replica."""
    if not isinstance(item, dict):
        return item
    section = dict(item)
    if "responses" in section:
        section["responses"] = _path(section["responses"], base)
    prompt = section.get("system_prompt")
    if isinstance(prompt, str) and prompt.startswith("@"):
        file = base / prompt[1:]
        try:
            section["system_prompt"] = file.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"system_prompt: {file} cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"system_prompt: {file} is not UTF-8 ({error})") from error
    return section


def _judge_section(item: Any, base: Path) -> Any:
    """A bare name is a judge without options; `file` and `prompt_file` options are paths."""
    if isinstance(item, str):
        return {"use": item}
    if isinstance(item, dict) and isinstance(item.get("options"), dict):
        options = item["options"]
        paths = {key: _path(options[key], base) for key in ("file", "prompt_file") if key in options}
        return item | {"options": options | paths}
    return item
