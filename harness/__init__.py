"""Shadow Harness: evidence for the question whether another model may take over."""

from harness.capture.entry import shadow

__version__ = "0.1.0"

__all__ = ["__version__", "shadow"]
