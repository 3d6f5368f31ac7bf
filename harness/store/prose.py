"""What a person wrote in a message, apart from what was pasted, encoded or put in its place."""

import re

# Every repetition is bounded or cannot be entered twice at one place: the text is anybody's.
_CODE = re.compile(r"```.*?(?:```|\Z)|^ {0,3}~~~.*?(?:^ {0,3}~~~|\Z)|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_NO_WORDS = re.compile(
    r"</?[a-z][^<>]{0,200}>"  # tags, and with them the placeholders of redaction: <EMAIL_1a2b>
    r"|(?:\b[a-z][a-z0-9+.-]{1,20}://|\bwww\.)\S+"
    r"|[\w.+-]{1,64}@[\w.-]{1,255}"
    r"|[a-z0-9+/=_-]{40,}",  # base64, hashes, paths
    re.IGNORECASE | re.ASCII,
)


def without_placeholders(text: str) -> str:
    """The text on one line, without placeholders of redaction, tags, addresses and encoded data; never fails."""
    # Tokenizers refuse lone surrogates, and separators of all kinds are spaces to whoever counts words.
    return " ".join(_NO_WORDS.sub(" ", text).encode("utf-8", "replace").decode().replace("\x00", " ").split())


def prose(text: str) -> str:
    """The same without code, fenced or in backticks; an open fence is code to the end."""
    return without_placeholders(_CODE.sub(" ", text))
