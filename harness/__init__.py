"""Shadow Harness: evidence for the question whether another model may take over."""

__version__ = "0.1.0"
