"""Where the attempts and the embedding of a run are done: in this process, in several, or on a Ray cluster."""

from harness.engine.choice import build_engine
from harness.engine.protocol import Engine

__all__ = ["Engine", "build_engine"]
