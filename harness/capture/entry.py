"""`harness.shadow`: the only module that ``import harness`` loads besides itself, so it imports nothing at the top."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeVar

    from harness.config import Live

    Client = TypeVar("Client")


class Shadow:
    """Switches capture on for an official OpenAI or Anthropic client; called as ``harness.shadow(client)``."""

    def __call__(self, client: "Client", live: "str | Path | Live | None" = None) -> "Client":
        """Mirror what this client asks into the spool of a live experiment, and return the same client.

        What the client answers or raises is what it would have been. Copies (``with_options``) are mirrored too;
        requests to another host than the client's own are not. A live experiment that cannot be read is logged and
        switches nothing on until it can be.

        Args:
            client: an ``openai.OpenAI``, ``openai.AsyncOpenAI``, ``anthropic.Anthropic`` or
                ``anthropic.AsyncAnthropic``, or one of their subclasses.
            live: the live experiment or its file; the file named by ``HARNESS_LIVE``, else ``live.yaml``, when not
                given.

        Raises:
            ConfigurationError: it is no such client.
        """
        from harness.capture.clients import shadow

        return shadow(client, live)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything that was answered is in the spool; says whether it is.

        For where a process may be stopped without warning, such as a function in the cloud. An attempt that failed is
        no longer waited for to be tried again, so call it when no call is on its way.
        """
        from harness.capture.capturing import flush

        return flush(timeout_s)

    def close(self) -> None:
        """Write what waits and capture no more; done by itself when the interpreter ends."""
        from harness.capture.capturing import close

        close()


shadow = Shadow()
