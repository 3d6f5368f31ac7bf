"""`harness label`: the page on which people say which of two answers is better."""

import getpass
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.cli import options
from harness.cli.output import err, out, out_json
from harness.cli.work import named_session
from harness.errors import ConfigurationError, Interrupted

if TYPE_CHECKING:
    from harness.pipeline.labelling import Labelling
    from harness.pipeline.session import Session


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("label", help="Serve a page on which people say, blind, which of two answers is better.")(label)


def label(
    run: options.StoredRun,
    arm: options.Arm = None,
    labeller: Annotated[
        str | None,
        typer.Option(
            "--labeller", help="Your name beside your labels; by default your login.", envvar="HARNESS_LABELLER"
        ),
    ] = None,
    ask_name: Annotated[
        bool,
        typer.Option("--ask-name", help="Ask everybody who opens the page for a name.", envvar="HARNESS_ASK_NAME"),
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help="Pairs to label; 200 by default. A larger number later extends the same plan.",
            min=1,
            envvar="HARNESS_LABEL_SIZE",
        ),
    ] = None,
    design: Annotated[
        Literal["uniform", "uncertain"] | None,
        typer.Option(
            "--design",
            help="uniform (default): all pairs alike; uncertain: rather those a judge is unsure of.",
            envvar="HARNESS_LABEL_DESIGN",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the draw; 0 by default.", envvar="HARNESS_LABEL_SEED")
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            "--host", help="Address to listen on; the default is this machine alone.", envvar="HARNESS_LABEL_HOST"
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", help="Port to listen on; 0 takes a free one.", min=0, max=65535, envvar="HARNESS_LABEL_PORT"
        ),
    ] = 0,
    open_page: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open", help="Open the page in a browser; by default on a desktop.", envvar="HARNESS_OPEN"
        ),
    ] = None,
    store: options.StoreUrl = None,
    runs_dir: options.RunsDir = options.RUNS_DIR,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """Serve until Ctrl-C; 0 when somebody has finished the plan, else 130."""
    from harness.pipeline.label_plan import DesignKind, Wish, prepare_plan
    from harness.pipeline.labelling import Labelling, arm_to_label

    wish = Wish(kind=None if design is None else DesignKind(design), seed=seed, size=size)
    who = None if ask_name else _labeller(labeller)
    if ask_name and labeller is not None:
        raise ConfigurationError("--labeller and --ask-name exclude each other")
    with named_session(run, store=store, runs_dir=runs_dir) as session:
        chosen = arm_to_label(session.experiment, arm)
        plan = prepare_plan(session, chosen, wish)
        labelling = Labelling.of(session, chosen, plan)
        for note in plan.notes:
            err(f"! {note}")
        if not quiet:
            err(f"{plan.n_planned:,} of {plan.n_comparable:,} comparable pairs are to be labelled ({plan.design})")
        _serve(
            session, labelling, who, source=run, host=host, port=port, open_page=open_page, as_json=as_json, quiet=quiet
        )
        return _farewell(session, labelling, quiet=quiet)


def _labeller(name: str | None) -> str:
    from harness.pipeline.labelling import labeller_name

    if name is None:
        try:
            name = getpass.getuser()
        except (OSError, KeyError, ImportError):
            raise ConfigurationError("your login has no name here; give one with --labeller") from None
    return labeller_name(name)


def _serve(
    session: "Session",
    labelling: "Labelling",
    who: str | None,
    *,
    source: str,
    host: str,
    port: int,
    open_page: bool | None,
    as_json: bool,
    quiet: bool,
) -> None:
    from harness.web.label_app import LabelPages, label_app
    from harness.web.serving import has_desktop, listening, opened_in_browser, serve

    with ExitStack() as stack:
        where = stack.enter_context(listening(host, port))
        pages = LabelPages(
            labelling=labelling,
            access=where.access,
            labeller=who,
            next_command=f"harness decide {_experiment(session, source)}",
            status_command=f"harness labels status {session.run_id}",
        )

        def on_start() -> None:
            _tell(labelling, who, where.address, as_json=as_json, quiet=quiet)
            if where.is_open_to_others:
                err(
                    "! this page is open to other machines, unencrypted: whoever has the address, or can listen on the "
                    "network, reads the conversations and may label under any name"
                )
            if has_desktop() if open_page is None else open_page:
                stack.enter_context(opened_in_browser(where.address, session.folder))

        serve(label_app(pages), where, on_start)


def _experiment(session: "Session", source: str) -> str:
    """How `harness decide` is told which run."""
    if source.endswith((".yaml", ".yml")):
        return source
    named = "" if session.run_id == session.experiment.default_run_id else f" --run {session.run_id}"
    return f"EXPERIMENT.yaml{named}"


def _tell(labelling: "Labelling", who: str | None, address: str, *, as_json: bool, quiet: bool) -> None:
    standing = None if who is None else labelling.standing(who)
    if as_json:
        told: dict[str, Any] = {
            "url": address,
            "run": labelling.run_id,
            "arm": labelling.arm.name,
            "design": str(labelling.plan.design),
            "planned": labelling.plan.n_planned,
            "comparable": labelling.plan.n_comparable,
            "labeller": who,
            "labelled": None if standing is None else standing.labelled,
            "skipped": None if standing is None else standing.skipped,
        }
        out_json(told)
    else:
        out(address)
    if not quiet:
        if standing is not None:
            err(f"labeller {who}: {standing.labelled:,} labelled, {standing.skipped:,} skipped")
        err("Open the address in a browser. Ctrl-C ends this; the same command goes on.")


def _farewell(session: "Session", labelling: "Labelling", *, quiet: bool) -> int:
    """What was reached, and the exit code.

    Raises:
        Interrupted: nobody has finished the plan.
    """
    from harness.pipeline.label_status import status_of

    status = status_of(session, labelling.arm)
    if not quiet:
        for person in status.labellers:
            err(f"{person.labeller}: {person.planned_done:,} of {labelling.plan.n_planned:,} planned pairs done")
    if any(person.planned_done >= labelling.plan.n_planned for person in status.labellers):
        return 0
    raise Interrupted("stopped; every label is stored, and the same command goes on where it stopped")
