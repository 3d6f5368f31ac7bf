"""`harness judges`: the judges that are installed, and how far they can be believed."""

import typer

from harness.cli import judges_evaluate, options
from harness.cli.output import out, out_json, table


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="The judges that are installed, and how far they can be believed.")
    group.command("list", help="Every judge with its metric and options.")(list_judges)
    group.command("evaluate", help=judges_evaluate.HELP)(judges_evaluate.evaluate)
    app.add_typer(group, name="judges")


def list_judges(as_json: options.AsJson = False) -> int:
    """Print name, metric, options and meaning of each judge."""
    from dataclasses import fields

    from harness.registry import judge_class, judge_names

    rows = []
    for name in judge_names():
        judge = judge_class(name)
        rows.append(
            {
                "judge": name,
                "metric": judge.metric.name,
                "version": judge.version,
                "options": ", ".join(field.name for field in fields(judge)),  # type: ignore[arg-type]
                "meaning": (judge.__doc__ or "").strip().split("\n")[0],
            }
        )
    if as_json:
        out_json(rows)
    else:
        out(table(rows, ["judge", "metric", "options", "meaning"]))
    return 0
