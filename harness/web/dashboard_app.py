"""The dashboard over HTTP: pages that anybody here may read, and a few things whoever has the token may read and do."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from harness.errors import ConfigurationError, HarnessError, InputError
from harness.store.connection import shown
from harness.web.dashboard_pages import Pages, canonical, contents_of, rendered
from harness.web.dashboard_reading import Reading, Watched
from harness.web.dashboard_rollout import CHANGES, rollout_url
from harness.web.dashboard_run import pair_page, run_url
from harness.web.dashboard_views import ActionView, FormView, FrameView, LoginPage, NoticePage, PartView
from harness.web.guard import LIVE_HEADERS, Access, Guard, from_here
from harness.web.sessions import LIFETIME_S, Session, Sessions
from harness.web.stream import MOST_LISTENERS, Built, Hub, Listening, NoSuchPageError, Topic, moment
from reports.html import TOKENS, static_text
from reports.text import one_line

_log = logging.getLogger("harness.dashboard")

Change = Callable[[str, str, str, str], str]
"""Live experiment, what to do, who, why: does it, and says what came of it. Raises HarnessError where it may not be."""
_SHEETS = ("report.css", "examples.css", "rollout.css", "sequence.css")
_FIELD = 2_000
_SWITCH = {
    "off": ActionView(value="off", title="Stop", what="Nothing is mirrored or asked, within a second.", is_final=False),
    "on": ActionView(value="on", title="Go on", what="Mirror by the file's rate again.", is_final=False),
}


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """What the pages need beside the request."""

    reading: Reading
    access: Access
    sessions: Sessions
    hub: Hub
    change: Change
    is_private: bool
    """Whether nothing at all is shown without the token: the page can be reached from other machines."""
    limit: int = MOST_LISTENERS
    """Pages that are told at once."""

    @property
    def cookie(self) -> str:
        """Cookie with the session: cookies know no ports, and two pages must not take each other's."""
        return f"harness_dashboard_{self.access.port}"

    def session(self, request: Request) -> Session | None:
        """Who asks; ``None`` for somebody who has not shown the token."""
        return self.sessions.find(request.cookies.get(self.cookie))


def dashboard(
    reading: Reading, access: Access, *, token: str | None, change: Change, is_private: bool
) -> tuple[Guard, Hub]:
    """The application, guarded, and what tells its pages, which has to run beside it."""
    hub = Hub(Pages(reading))
    pages = Dashboard(
        reading=reading, access=access, sessions=Sessions(token=token), hub=hub, change=change, is_private=is_private
    )
    return dashboard_app(pages), hub


def dashboard_app(pages: Dashboard) -> Guard:
    """The application, guarded."""
    own = _Endpoints(pages)
    routes = [
        Route("/", own.page),
        Route("/run", own.page),
        Route("/rollout", own.page),
        Route("/pair", own.pair),
        Route("/events", own.events),
        Route("/login", own.ask_token),
        Route("/login", own.log_in, methods=["POST"]),
        Route("/logout", own.log_out, methods=["POST"]),
        Route("/change", own.change, methods=["POST"]),
        Route("/mirror", own.mirror, methods=["POST"]),
        Route("/static/dashboard.css", _static("text/css", _style())),
        Route("/static/dashboard.js", _static("text/javascript", static_text("harness.web", "dashboard.js"))),
    ]
    handlers: Mapping[Any, Any] = {HTTPException: _on_http_error, HarnessError: _on_own_error, Exception: _on_fault}
    app = Starlette(routes=routes, exception_handlers=handlers, middleware=[Middleware(_Private, pages=pages)])
    return Guard(app, pages.access, headers=LIVE_HEADERS)


class _Private:
    """Sends everybody without a session to the token's page, where nothing is shown without it."""

    def __init__(self, app: ASGIApp, pages: Dashboard) -> None:
        self._app, self._pages = app, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        path = request.url.path
        is_open = path == "/login" or path.startswith("/static/") or not self._pages.is_private
        if is_open or self._pages.session(request) is not None:
            await self._app(scope, receive, send)
        elif path == "/events" or request.method not in {"GET", "HEAD"}:
            await Response("show the token first", status_code=403, media_type="text/plain")(scope, receive, send)
        else:
            await RedirectResponse(_login_url(_address(request)), status_code=303)(scope, receive, send)


@dataclass(frozen=True)
class _Endpoints:
    """The answers to requests."""

    pages: Dashboard

    async def page(self, request: Request) -> Response:
        """A page as it stands; scripts, where they run, keep it so."""
        session, address = self.pages.session(request), canonical(_address(request))
        topic = await self.pages.hub.current((address, session is not None))
        frame = await run_in_threadpool(self._frame, topic, address, session)
        return HTMLResponse(await run_in_threadpool(rendered, "dash_page.html.j2", frame))

    def _frame(self, topic: Topic, address: str, session: Session | None) -> FrameView:
        built = topic.built or Built(title="", parts=())
        said = ""
        if session is not None:
            said, session.said = session.said, ""
        return FrameView(
            title=built.title,
            page=address,
            version=self.pages.hub.version_of(topic),
            parts=tuple(PartView(name=part.name, html=Markup(part.html)) for part in built.parts),  # noqa: S704  escaped by its own template
            contents=contents_of(built),
            announced=built.said,
            at=moment(topic.at),
            problem=topic.problem,
            store=one_line(shown(self.pages.reading.url), 200),
            is_home=urlsplit(address).path == "/",
            can_log_in=self.pages.sessions.token is not None,
            is_in=session is not None,
            login_url=_login_url(address),
            csrf=self.pages.sessions.csrf(session) if session is not None else "",
            said=said,
            forms=self._forms(address, session) if session is not None else (),
        )

    def _forms(self, address: str, session: Session) -> tuple[FormView, ...]:
        parts = urlsplit(address)
        query = dict(parse_qsl(parts.query))
        csrf = self.pages.sessions.csrf(session)
        if parts.path == "/rollout":
            return (
                FormView(
                    title="Change the rollout", action="/change", csrf=csrf, subject=query.get("live", ""),
                    buttons=tuple(CHANGES.values()), asks_reason=True,
                ),
            )  # fmt: skip
        own = self._live_of_run(query.get("id", "")) if parts.path == "/run" else None
        if own is None or not (own.gateway.is_known or own.worker.is_known):
            return ()
        return (
            FormView(
                title="Kill switch of mirroring", action="/mirror", csrf=csrf, subject=own.live.name,
                buttons=tuple(_SWITCH.values()), asks_reason=False,
            ),
        )  # fmt: skip

    def _live_of_run(self, run_id: str) -> Watched | None:
        return next((one for one in self.pages.reading.lives if one.live.name == run_id), None)

    async def pair(self, request: Request) -> Response:
        """One pair in full, for whoever has the token."""
        if self.pages.session(request) is None:
            return RedirectResponse(_login_url(_address(request)), status_code=303)
        query = request.query_params
        wanted = (query.get("run", ""), query.get("arm", ""), query.get("exchange", ""))
        found = await run_in_threadpool(self.pages.reading.pair, *wanted)
        view = await run_in_threadpool(pair_page, *found)
        return HTMLResponse(await run_in_threadpool(rendered, "dash_pair.html.j2", view))

    async def events(self, request: Request) -> Response:
        """What is new on a page, as long as it is open."""
        if not from_here(request):
            raise HTTPException(403, "This request came from another page.")
        hub, session = self.pages.hub, self.pages.session(request)
        if hub.n_listeners >= self.pages.limit:
            raise HTTPException(503, "Too many pages are open; reload this one for newer figures.")
        address = canonical(request.query_params.get("of", "/"))
        key = (address, session is not None)
        # Only what is a page is listened to.
        await hub.current(key)
        version = request.headers.get("last-event-id") or request.query_params.get("since", "")
        return _Going(Listening(hub, key, version))

    # The token

    async def ask_token(self, request: Request) -> Response:
        """Where the token is shown."""
        return self._asks(request.query_params.get("next", "/"), "")

    def _asks(self, next_address: str, problem: str, status: int = 200) -> Response:
        sessions = self.pages.sessions
        view = LoginPage(
            title="Show the token", problem=problem, next=_own_address(next_address), csrf=sessions.csrf(None),
            can_log_in=sessions.token is not None,
        )  # fmt: skip
        return HTMLResponse(rendered("dash_login.html.j2", view), status_code=status)

    async def log_in(self, request: Request) -> Response:
        """Begin a session for whoever shows the token."""
        form, sessions = await _form(request), self.pages.sessions
        if not sessions.is_ours(None, form.get("csrf", "")):
            return self._asks(form.get("next", "/"), "The form is from before a restart; once more, please.", 409)
        if sessions.must_wait:
            return self._asks(form.get("next", "/"), "Too many wrong tokens; wait a minute.", 429)
        session = sessions.begin(form.get("token", ""))
        if session is None:
            return self._asks(form.get("next", "/"), "That is not the token.", 403)
        answer = RedirectResponse(_own_address(form.get("next", "/")), status_code=303)
        answer.set_cookie(
            self.pages.cookie, session.key, max_age=LIFETIME_S, httponly=True, samesite="strict", path="/"
        )
        return answer

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        session = self._checked(request, await _form(request))
        self.pages.sessions.end(session)
        answer = RedirectResponse("/", status_code=303)
        answer.delete_cookie(self.pages.cookie, path="/", httponly=True, samesite="strict")
        return answer

    # Changes

    async def change(self, request: Request) -> Response:
        """Approve, pause, resume or abort a rollout, by name and with a reason."""
        form = await _form(request)
        session = self._checked(request, form)
        live, what = form.get("subject", ""), form.get("do", "")
        by, reason = form.get("by", "").strip(), form.get("reason", "").strip()
        if what not in CHANGES:
            raise HTTPException(400, "No change was sent.")
        if not by or not reason or len(by) > _FIELD or len(reason) > _FIELD:
            raise HTTPException(400, "A name and a reason are needed; both are recorded.")
        session.said = await run_in_threadpool(self.pages.change, live, what, by, reason)
        self.pages.hub.touch()
        return RedirectResponse(rollout_url(live), status_code=303)

    async def mirror(self, request: Request) -> Response:
        """Turn mirroring off or on, by the admin port of the gateway, else of the worker."""
        form = await _form(request)
        session = self._checked(request, form)
        own = self._live_of_run(form.get("subject", ""))
        if own is None or form.get("do") not in _SWITCH:
            raise HTTPException(400, "No change was sent.")
        enabled = form["do"] == "on"
        await run_in_threadpool(_switch, own, enabled=enabled)
        session.said = "Mirroring goes on within a second." if enabled else "Mirroring stops within a second."
        self.pages.hub.touch()
        return RedirectResponse(run_url(own.live.name), status_code=303)

    def _checked(self, request: Request, form: Mapping[str, str]) -> Session:
        session = self.pages.session(request)
        if session is None:
            raise HTTPException(403, "Show the token first; a session lasts twelve hours, and ends with the dashboard.")
        if not self.pages.sessions.is_ours(session, form.get("csrf", "")):
            raise HTTPException(409, "The form is from another session. Go back, reload, and send it again.")
        return session


def _switch(own: Watched, *, enabled: bool) -> None:
    port, section = (
        (own.gateway, own.live.admin) if own.gateway.status() is not None else (own.worker, own.live.worker_admin)
    )
    token = os.environ.get(section.token_env)
    if not token:
        raise ConfigurationError(
            f"the {port.name}'s admin port wants the token in {section.token_env}, which is not set"
        )
    port.switch_mirror(enabled, token)


class _Going(Response):
    """An answer that goes on by itself."""

    def __init__(self, app: Listening) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _address(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _own_address(text: str) -> str:
    """An address of this server, whatever was sent."""
    parts = urlsplit(text if text.isprintable() else "/")
    # One slash: two would lead to another host.
    path = "/" + parts.path.lstrip("/\\")
    return path + (f"?{parts.query}" if parts.query else "")


def _login_url(address: str) -> str:
    return f"/login?next={quote(address, safe='')}"


async def _form(request: Request) -> dict[str, str]:
    body = await request.body()
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise HTTPException(400, "The form cannot be read.") from None


def _notice(heading: str, text: str, status: int) -> Response:
    view = NoticePage(title=heading, text=text, back_url="/", back="All runs")
    return HTMLResponse(rendered("dash_notice.html.j2", view), status_code=status)


async def _on_http_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)  # noqa: S101  registered for nothing else
    titles = {400: "That cannot be read", 404: "Not here", 405: "Not here", 503: "Not now"}
    return _notice(titles.get(error.status_code, "That did not work"), error.detail, error.status_code)


async def _on_own_error(request: Request, error: Exception) -> Response:
    del request
    text = str(error)
    said = text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
    if isinstance(error, NoSuchPageError):
        return _notice("Not here", said, 404)
    if isinstance(error, InputError | ConfigurationError):
        return _notice("That cannot be done now", said, 409)
    return _notice("The store did not answer", f"{said} Reload this page once it is mended.", 503)


async def _on_fault(request: Request, error: Exception) -> Response:
    _log.error("%s could not be answered", request.url.path, exc_info=error)
    return _notice("That did not work", "This is a fault of the dashboard; its log says more.", 500)


def _style() -> str:
    own = static_text("harness.web", "dashboard.css")
    return "".join(static_text("reports", name) for name in (TOKENS, *_SHEETS)) + own


def _static(media_type: str, text: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        del request
        return Response(text, media_type=media_type)

    return answer
