import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import yaml

import harness
from harness.spool import counters
from harness.spool.reader import COUNTERS, SpoolReader
from harness.spool.record import Captured
from tests.unit.capture.provider import Provider, serving


@dataclasses.dataclass
class Experiment:
    """A live experiment in a folder, and what has come into its spool."""

    path: Path
    upstream: str

    def write(self, **mirror: object) -> None:
        body = {
            "name": "t",
            "gateway": {"upstream": self.upstream},
            "mirror": {"rate": 1} | mirror,
            "candidates": [{"name": "c", "model": "openai/x"}],
        }
        self.path.write_text(yaml.safe_dump(body))

    @property
    def spool(self) -> Path:
        return self.path.parent / "spool"

    def records(self) -> list[Captured]:
        assert harness.shadow.flush()
        with SpoolReader(self.spool) as reader:
            return [captured for _, captured in reader.read(10_000)]

    def counts(self) -> Counter[str]:
        assert harness.shadow.flush()
        found = counters.totals(self.spool / COUNTERS)
        return Counter({name: number for name, number in found.items() if number})


@pytest.fixture
def provider():
    with serving(Provider()) as found:
        yield found


@pytest.fixture
def experiment(tmp_path, provider):
    found = Experiment(tmp_path / "live.yaml", provider.base)
    found.write()
    yield found
    harness.shadow.close()
