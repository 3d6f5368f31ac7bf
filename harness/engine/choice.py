"""Picks the engine by its name."""

from harness.engine.local import LocalEngine
from harness.engine.protocol import Engine
from harness.errors import ConfigurationError

ENGINES = ("local", "ray")


def build_engine(name: str = "local", *, processes: int | None = None, address: str | None = None) -> Engine:
    """The engine of that name; nothing is started before it is used.

    Raises:
        ConfigurationError: there is none, it is not installed, or an option belongs to the other one.
    """
    if name == "local":
        if address is not None:
            raise ConfigurationError("--address is that of a Ray cluster; add --engine ray, or leave it out")
        return LocalEngine(processes)
    if name == "ray":
        from harness.engine.cluster import RayEngine

        return RayEngine(address=address, processes=processes)
    raise ConfigurationError(f"there is no engine {name!r}; there are: {', '.join(ENGINES)}")
