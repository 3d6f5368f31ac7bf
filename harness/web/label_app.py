"""The label pages over HTTP: every answer is in the store before the next pair is shown."""

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from jinja2 import ChoiceLoader, PackageLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from harness.domain.label import PlannedLabel
from harness.errors import ConfigurationError, HarnessError
from harness.pipeline.labelling import Choice, Labelling, Standing, labeller_name
from harness.web import label_page
from harness.web.guard import Access, Guard
from harness.web.label_views import MessagePage
from reports.html import TOKENS, environment, static_text

_LONGEST_LOOK_S = 3_600.0
"""A pair shown for longer was left open, which says nothing about how long it took."""
_AGAIN = "Go back to the pairs: it is shown again, and nothing that was stored is lost."


@dataclass(frozen=True, kw_only=True)
class LabelPages:
    """What the pages need beside the request."""

    labelling: Labelling
    access: Access
    labeller: str | None
    """Who labels; everybody is asked for a name when ``None``."""
    next_command: str
    """What to run when all is labelled."""
    status_command: str
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Signs forms."""

    @property
    def name_cookie(self) -> str:
        """Cookie with the name a person gave."""
        return f"harness_labeller_{self.access.port}"

    def csrf(self, purpose: str) -> str:
        """What a form has to bring back."""
        return hmac.new(self.secret, purpose.encode("utf-8", "replace"), "sha256").hexdigest()


def label_app(pages: LabelPages) -> Guard:
    """The application, guarded."""
    endpoints = _Endpoints(pages)
    routes = [
        Route("/", endpoints.next_pair),
        Route("/pair/{key}", endpoints.one_pair),
        Route("/label", endpoints.label, methods=["POST"]),
        Route("/static/label.css", _static("text/css", static_text("reports", TOKENS) + _own("label.css"))),
        Route("/static/label.js", _static("text/javascript", _own("label.js"))),
    ]
    if pages.labeller is None:
        routes += [Route("/name", endpoints.ask_name), Route("/name", endpoints.set_name, methods=["POST"])]
    handlers: Mapping[Any, Any] = {HTTPException: _on_http_error, HarnessError: _on_own_error}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), pages.access)


class _Endpoints:
    """The answers to requests."""

    def __init__(self, pages: LabelPages) -> None:
        self._pages = pages
        self._labelling = pages.labelling

    async def next_pair(self, request: Request) -> Response:
        """The first pair this person has said nothing about, or the page after the last one."""
        labeller = self._labeller(request)
        if labeller is None:
            return RedirectResponse("/name", status_code=303)
        standing = await run_in_threadpool(self._labelling.standing, labeller)
        item = standing.next
        if item is not None:
            return await self._shown(standing, item, labeller)
        return _rendered(
            "label_finished.html.j2",
            label_page.finished_page(
                standing,
                labeller=labeller,
                next_command=self._pages.next_command,
                status_command=self._pages.status_command,
                name_url=self._name_url,
            ),
        )

    async def one_pair(self, request: Request) -> Response:
        """A certain pair, to look at it again."""
        labeller = self._labeller(request)
        if labeller is None:
            return RedirectResponse("/name", status_code=303)
        standing = await run_in_threadpool(self._labelling.standing, labeller)
        return await self._shown(standing, _item(standing, request.path_params["key"]), labeller)

    async def label(self, request: Request) -> Response:
        """Store what was chosen and go on."""
        form = await _form(request)
        labeller = self._labeller(request)
        # Sides are drawn by person: a form shown to one name must not be counted under another.
        if labeller is None or not self._is_ours(form, labeller):
            raise HTTPException(409, f"This pair was shown to somebody else, or before a restart. {_AGAIN}")
        try:
            choice = Choice(form.get("choice", ""))
        except ValueError:
            raise HTTPException(400, "No choice was sent.") from None
        standing = await run_in_threadpool(self._labelling.standing, labeller)
        item = _item(standing, form.get("pair", ""))
        await run_in_threadpool(
            self._labelling.record,
            item.exchange_id,
            labeller=labeller,
            choice=choice,
            note=form.get("note"),
            seconds=_seconds_since(form.get("shown_at", "")),
        )
        return RedirectResponse("/", status_code=303)

    async def ask_name(self, request: Request) -> Response:
        """Who is it?"""
        view = label_page.name_page(csrf=self._pages.csrf("name"), name=self._labeller(request) or "")
        return _rendered("label_name.html.j2", view)

    async def set_name(self, request: Request) -> Response:
        """Remember the name in a cookie."""
        form = await _form(request)
        if not hmac.compare_digest(form.get("csrf", "").encode(), self._pages.csrf("name").encode()):
            raise HTTPException(409, "The form is from before a restart. Go back and give your name again.")
        try:
            name = labeller_name(form.get("name", ""))
        except ConfigurationError as error:
            view = label_page.name_page(
                csrf=self._pages.csrf("name"), name=form.get("name", "")[:200], problem=f"{error}."
            )
            return _rendered("label_name.html.j2", view, status=400)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(self._pages.name_cookie, quote(name), httponly=True, samesite="lax", path="/")
        return response

    async def _shown(self, standing: Standing, item: PlannedLabel, labeller: str) -> Response:
        pair = await run_in_threadpool(self._labelling.pair, item.exchange_id)
        if pair is None:
            raise HTTPException(410, "This pair is no longer in the store. Start the command again.")
        page = await run_in_threadpool(
            label_page.pair_page,
            self._labelling,
            standing,
            item,
            pair,
            labeller=labeller,
            csrf=self._pages.csrf(f"label {labeller}"),
            name_url=self._name_url,
        )
        return await run_in_threadpool(_rendered, "label_pair.html.j2", page)

    @property
    def _name_url(self) -> str:
        return "/name" if self._pages.labeller is None else ""

    def _labeller(self, request: Request) -> str | None:
        if self._pages.labeller is not None:
            return self._pages.labeller
        try:
            return labeller_name(unquote(request.cookies.get(self._pages.name_cookie, "")))
        except ConfigurationError:
            return None

    def _is_ours(self, form: Mapping[str, str], labeller: str) -> bool:
        return hmac.compare_digest(form.get("csrf", "").encode(), self._pages.csrf(f"label {labeller}").encode())


def _item(standing: Standing, key: str) -> PlannedLabel:
    found = next((item for item in standing.planned if label_page.pair_key(item.exchange_id) == key), None)
    if found is None:
        raise HTTPException(404, "There is no such pair in the plan.")
    return found


async def _form(request: Request) -> dict[str, str]:
    body = await request.body()
    try:
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise HTTPException(400, "The form cannot be read.") from None
    return dict(fields)


def _seconds_since(shown_at: str) -> float | None:
    try:
        seconds = datetime.now(UTC).timestamp() - float(shown_at)
    except ValueError:
        return None
    return round(seconds, 2) if 0.0 <= seconds <= _LONGEST_LOOK_S else None


async def _on_http_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)  # noqa: S101  registered for nothing else
    titles = {400: "That cannot be read", 404: "Not here", 405: "Not here", 409: "Shown again, please", 410: "Gone"}
    view = MessagePage(title=titles.get(error.status_code, "That did not work"), text=error.detail)
    return _rendered("label_message.html.j2", view, status=error.status_code)


async def _on_own_error(request: Request, error: Exception) -> Response:
    del request
    text = f"{error}. What you chose last is not stored; go back and choose again once this is mended."
    return _rendered("label_message.html.j2", MessagePage(title="The store did not answer", text=text), status=503)


_TEMPLATES = environment(ChoiceLoader([PackageLoader("harness.web"), PackageLoader("reports")]))


def _rendered(template: str, view: Any, *, status: int = 200) -> Response:
    return HTMLResponse(_TEMPLATES.get_template(template).render(view=view), status_code=status)


def _own(name: str) -> str:
    return static_text("harness.web", name)


def _static(media_type: str, text: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        del request
        return Response(text, media_type=media_type)

    return answer
