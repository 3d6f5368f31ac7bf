"""Addresses of published pages, as links to them are written."""

from urllib.parse import quote

from harness.errors import ConfigurationError


def address(name: str) -> str:
    """A file's or folder's name as one part of a relative link: nothing in it can lead elsewhere."""
    quoted = quote(name.encode("utf-8", "replace"), safe="")
    # A dot is never quoted, and two of them alone would lead up.
    return "%2E" * len(quoted) if quoted in {".", ".."} else quoted


def base_url(text: str) -> str:
    """Where the place can be read, without a slash at its end.

    Raises:
        ConfigurationError: it is no http or https address, or could end a link in Markdown.
    """
    lowered = text.lower()
    if not lowered.startswith(("http://", "https://")) or any(sign in text for sign in "<>()[]\"'` \t\n\\"):
        raise ConfigurationError(
            f"--base-url {text!r}: expected the http or https address at which readers open the folder"
        )
    return text.rstrip("/")
