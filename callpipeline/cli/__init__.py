"""The command line. Thin: it reads arguments, calls the rooms below and shows what came out.

Heavy imports happen inside the commands: ``--help`` and a run with nothing new must not wait for Dagster.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from pydantic import ValidationError

from callpipeline.cli import costs, doctor, evaluate, export, graph, hearing, keys, run, serve, status, sweep
from callpipeline.cli.views import SOME_FAILED, USAGE, errors
from callpipeline.failures import CallPipelineError, NotConfigured, UsageError
from callpipeline.settings import Settings, variable_of

app = typer.Typer(
    name="callpipeline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Turn folders of recorded calls into checked results: transcripts with speakers, verdicts, scores.\n\n"
        "Start with [bold]callpipeline run FOLDER[/bold]: what was done once is never done again. "
        "[bold]callpipeline doctor[/bold] says what works here."
    ),
    epilog=(
        "Settings are environment variables (CALLPIPELINE_...); doctor lists them. "
        "Exit codes: 0 all well, 1 some recordings failed, 2 wrong usage or set-up."
    ),
)
app.command("run")(run.run)
app.command("hearing")(hearing.hearing)
app.command("status")(status.status)
app.command("costs")(costs.costs)
app.command("export")(export.export)
app.command("sweep")(sweep.sweep)
app.command("doctor")(doctor.doctor)
app.command("serve")(serve.serve)
app.add_typer(graph.app, name="graph")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(keys.app, name="keys")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"callpipeline {version('callpipeline')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; failures end in one clear line and an exit code, not in a traceback."""
    try:
        app()
    except (UsageError, NotConfigured) as error:
        errors.print(f"[red]{error.error_class}[/red]: {error}", soft_wrap=True)
        sys.exit(USAGE)
    except CallPipelineError as error:
        errors.print(f"[red]{error.error_class}[/red]: {error}", soft_wrap=True)
        sys.exit(SOME_FAILED)
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"])
            name = variable_of(name) if name in Settings.model_fields else name.upper()
            errors.print(f"[red]wrong setting[/red] {name}: {problem['msg']}", soft_wrap=True)
        sys.exit(USAGE)
    except KeyboardInterrupt:
        errors.print("stopped; what is done stays done. Run the same command again to go on.")
        sys.exit(130)
