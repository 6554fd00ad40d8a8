"""``callpipeline evaluate``: how well a detection does on labelled cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from callpipeline.cli.views import console, errors
from callpipeline.failures import UsageError

if TYPE_CHECKING:
    from callpipeline.qa.evaluate import RebuttalEvaluation

app = typer.Typer(no_args_is_help=True, help="Measure a detection on labelled cases.")


@app.callback()
def _group() -> None:
    """Measure a detection on labelled cases."""


@app.command("rebuttal")
def rebuttal(
    cases: Annotated[
        Path,
        typer.Argument(
            help="JSON lines, each with id, duration_s, turns [{speaker, start, end, text}] and label "
            "(attempted, no_attempt, no_objection or unusable)."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print figures and every case as JSON.")] = False,
    wrong: Annotated[
        bool, typer.Option("--wrong", help="List the cases that were judged otherwise.")
    ] = False,
) -> None:
    """Judge every case with the offline rebuttal detector and compare with its label.

    Wrong flags: the share of the calls flagged as no_attempt that should not have been. Fair flags kept: the share of
    the true no_attempt calls that were flagged.
    """
    from callpipeline.qa.evaluate import evaluate_rebuttal

    try:
        with cases.open(encoding="utf-8") as lines:
            evaluation = evaluate_rebuttal(lines)
    except OSError as error:
        raise UsageError(f"{cases}: {error.strerror}.", hint="Give a file of JSON lines.") from error
    if as_json:
        typer.echo(evaluation.model_dump_json())
    else:
        _print(evaluation, wrong=wrong)
    if not evaluation.n:
        raise UsageError(
            f"{cases} holds no usable case.", hint="callpipeline evaluate rebuttal --help shows the form."
        )


def _print(evaluation: RebuttalEvaluation, *, wrong: bool) -> None:
    labels = list(evaluation.confusion)
    table = Table(title="expected (down) against judged (across)", title_justify="left", pad_edge=False)
    table.add_column("")
    judged = list(dict.fromkeys([*labels, *(got for row in evaluation.confusion.values() for got in row)]))
    for name in judged:
        table.add_column(name, justify="right")
    for expected in labels:
        table.add_row(expected, *(str(evaluation.confusion[expected].get(got, 0)) for got in judged))
    console.print(table)
    console.print(f"cases            {evaluation.n}")
    console.print(f"accuracy         {_percent(evaluation.accuracy)}")
    console.print(f"wrong flags      {_percent(evaluation.wrong_flag_rate)}")
    console.print(f"fair flags kept  {_percent(evaluation.fair_flags_kept)}")
    if wrong:
        for case in evaluation.cases:
            if case.expected != case.got:
                console.print(
                    escape(f"{case.id}: {case.expected}, judged {case.got}: {case.reason}"), soft_wrap=True
                )
    for line in evaluation.bad_lines:
        errors.print(f"[yellow]line {line.number} left out: {escape(line.message)}[/yellow]", soft_wrap=True)


def _percent(share: float | None) -> str:
    return "no such case" if share is None else f"{share:.1%}"
