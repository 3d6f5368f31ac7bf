"""The callback for LiteLLM's proxy: ``litellm_settings: callbacks: harness.capture.litellm_callback.callback``.

Loaded by LiteLLM, in a process that has it loaded; nothing of ours imports this module.
"""

import logging
import time
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from harness.capture import capturing
from harness.capture.attempt import Attempt, Ending
from harness.capture.litellm_body import Told, told
from harness.domain.mirror import MirrorDrop, NotEligible
from harness.spool import headers as allowed
from harness.spool.rules import Rules
from harness.spool.sampling import Sampled, fields_of, surface_of

_NAME = "litellm"
_log = logging.getLogger("harness.capture")


class ShadowCallback(CustomLogger):  # type: ignore[misc]  # litellm is not followed by the type checker
    """Copies sampled calls, those that failed included, to the spool of the experiment that ``HARNESS_LIVE`` names.

    Called after the answer has gone out. A call that the proxy tries again is one call, with its last outcome.
    """

    def __init__(self, live: str | None = None) -> None:
        super().__init__()
        self._live = live
        self._capture: capturing.Capture | None = None
        self._faulted = float("-inf")

    def log_success_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A call of ``litellm.completion`` was answered."""
        self._take(kwargs)

    def log_failure_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A call of ``litellm.completion`` failed."""
        self._take(kwargs)

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """A call of the proxy, or of ``litellm.acompletion``, was answered to the end."""
        self._take(kwargs)

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """An attempt at such a call failed."""
        self._take(kwargs)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> None:
        """The proxy has given a call up: its last attempt is its outcome."""
        call = request_data.get("litellm_call_id")
        if self._capture is not None and call:
            self._capture.give_up(_id(call))

    def _take(self, details: dict[str, Any]) -> None:
        capture = self._capture
        try:
            if capture is None or capture.is_closed:
                capture = self._capture = capturing.of(self._live)
            rules, call = capture.rules, told(details)
            if rules is not None and call is not None:
                _record(capture, rules, call)
        except Exception:  # noqa: BLE001  ours, whatever it is
            if capture is not None:
                capture.fault()
            else:
                self._fault()

    def _fault(self) -> None:
        """Report that there is no capture, at most once a minute."""
        now = time.monotonic()
        if now - self._faulted >= 60:
            self._faulted = now
            _log.exception("shadow capture: it could not begin, so nothing is captured; the caller is not affected")


def _record(capture: capturing.Capture, rules: Rules, call: Told) -> None:
    id_ = _id(call.call)
    decided = _decide(rules, call, id_)
    bodies: tuple[bytes, bytes] | None = b"", b""
    if isinstance(decided, Sampled):
        # Before it is counted, so that whatever cannot be written is counted, and ended.
        try:
            # What the proxy holds back from callbacks, it holds back from us.
            if call.is_withheld:
                decided = NotEligible.DENIED
            else:
                bodies = call.request(), call.response()
        except Exception:  # noqa: BLE001  such as half a character, or an integer above 64 bits
            bodies = None
            capture.fault()
    request, response = bodies or (b"", b"")
    attempt = Attempt(
        id_=id_,
        method="POST",
        path=call.path,
        headers=rules.headers.to_keep(call.headers) | {"content-type": "application/json", allowed.SOURCE: _NAME},
        request=request,
        retries=0,
        mirror=rules.mirror,
        salt_id=rules.sampler.salt_id,
        decided=decided,
        call=id_,
    )
    capture.count(attempt)
    attempt.at_ns = call.at_ns or attempt.at_ns
    attempt.status = call.status
    if bodies is None:
        attempt.strip(MirrorDrop.CAPTURE_FAILED)
    elif isinstance(decided, Sampled):
        attempt.response_headers = {"content-type": "application/json"}
        attempt.add(response)
    attempt.begun, attempt.first, attempt.last = 0.0, call.ttft_s, call.latency_s
    capture.end(attempt, Ending.WHOLE if call.status else Ending.FAILED, error=call.error)


def _id(call: object) -> str:
    return f"{_NAME}-{call}".encode("utf-8", "replace").decode()


def _decide(rules: Rules, call: Told, id_: str) -> Sampled | NotEligible | None:
    if surface_of("POST", call.path) is None:
        return NotEligible.UNSUPPORTED_SURFACE
    if rules.closed is not None:
        return rules.closed
    seen = rules.headers.to_decide(call.headers)
    if allowed.INTERNAL in seen:
        return NotEligible.INTERNAL_REQUEST
    if call.session:
        seen.setdefault(rules.mirror.conversation_header, call.session)
    if call.user:
        seen.setdefault(rules.mirror.user_header, call.user)
    # By the call's own id, so that its retries are decided alike.
    named = rules.sampler.body_fields
    return rules.sampler.decide(call.path, seen, id_, fields_of(_asked(call), named) if named else {})


def _asked(call: Told) -> bytes:
    """Its body; empty when it cannot be written, in which case it is counted by what else is known of it."""
    try:
        return call.request()
    except Exception:  # noqa: BLE001  if it is sampled, that is reported
        return b""


callback = ShadowCallback()
