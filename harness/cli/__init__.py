"""The command line; heavy libraries are imported only inside commands."""

from harness.cli.main import main

__all__ = ["main"]
