"""The command line; heavy libraries are imported only inside commands."""

from harness.cli.app import main

__all__ = ["main"]
