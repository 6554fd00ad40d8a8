"""What commands that process recordings have in common: saying where audio goes, the runs, the report after them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from callpipeline.cli.dry_run import announce, pool_limits
from callpipeline.cli.views import USAGE, Steps, errors
from callpipeline.failures import CallPipelineError

if TYPE_CHECKING:
    from callpipeline.defs.resources import Outcome
    from callpipeline.model import Finding
    from callpipeline.pipeline.workbench import Workbench


ASK_SECONDS = 10.0
"""So long a provider may take to say, before a run starts, whether it accepts the key."""


def announced(bench: Workbench, pending: Sequence[str]) -> None:
    """Say what the engines are where that matters: the demo, or a provider that audio or text is sent to.

    Raises:
        typer.Exit: the provider refuses the account, which has been said; nothing was sent.
    """
    if bench.transcriber.demo:
        errors.print(
            f"[yellow]Transcription by the offline demo engine ({bench.transcriber.name})[/yellow]: needs no key and no "
            "download, and gets many words wrong. callpipeline doctor shows the real engines."
        )
    if bench.transcriber.remote:
        from callpipeline.pipeline.forecast import Fate, most

        with Steps("adding up lengths", None) as steps:
            forecast = most(bench, pending, on_progress=steps.update)
        if forecast.of(Fate.SEND):
            _ask(bench, bench.transcriber.name, bench.asked_provider)
        with pool_limits(bench.settings) as limit:
            announce(bench, forecast, limit)
    if bench.extractor.remote:
        _ask(bench, bench.extractor.name, bench.asked_extractor)
        errors.print(
            f"[yellow]text goes to {bench.extractor.name}[/yellow], which finds entities and relations in it, paid by "
            "tokens. callpipeline graph build --dry-run says how much it may cost.",
            soft_wrap=True,
        )


def _ask(bench: Workbench, name: str, asked: Callable[[], Awaitable[tuple[Finding, ...]]]) -> None:
    """Ask the provider, once and for nothing, whether it takes anything from us: else no recording need be begun."""
    from callpipeline.pipeline.fitness import failed

    with Steps("asking the provider", None):
        try:
            against = failed(asyncio.run(_account(bench, asked)))
        except (CallPipelineError, TimeoutError) as error:
            said = str(error) or f"no answer within {ASK_SECONDS:g} s"
            errors.print(
                f"[yellow]{name} does not answer now[/yellow]: {escape(said)} "
                "The work on this machine begins; each recording asks again when it is to be sent.",
                soft_wrap=True,
            )
            return
    if against:
        errors.print(f"[red]nothing was sent to {name}[/red]: {escape(' '.join(against))}", soft_wrap=True)
        raise typer.Exit(USAGE)


async def _account(
    bench: Workbench, asked: Callable[[], Awaitable[tuple[Finding, ...]]]
) -> tuple[Finding, ...]:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await asked()
    finally:
        await bench.disconnect()


def process(bench: Workbench, pending: Sequence[str], listen: Callable[[Outcome], None]) -> list[str]:
    """Walk the recordings; return the ids of runs that ended before all of theirs were walked.

    ``listen`` hears of each stage and of each recording when it ends.

    Raises:
        KeyboardInterrupt: somebody stopped it; what is left has been said.
    """
    from callpipeline.defs.launch import open_instance
    from callpipeline.defs.launch import process as launch
    from callpipeline.defs.resources import PipelineResource
    from callpipeline.pipeline.outcomes import RecordingOutcome
    from callpipeline.pipeline.pending import done

    ended = 0
    asked_for = frozenset(pending)

    def hear(outcome: Outcome) -> None:
        nonlocal ended
        ended += isinstance(outcome, RecordingOutcome)
        if outcome.key in asked_for:
            listen(outcome)

    broken: list[str] = []
    resource = PipelineResource(
        settings=lambda: bench.settings,
        engine=bench.engine,
        finder=bench.finder,
        listener=hear,
        on_extraction=bench.on_extraction,
    )
    walked = 0
    with open_instance(bench.settings) as instance:
        runs = launch(
            instance,
            pending,
            resource,
            batch_size=bench.settings.batch_size,
            force_paid=bench.force_paid,
            along=done(bench),
        )
        for launched in runs:
            if launched.interrupted:
                errors.print(escape(launched.left), soft_wrap=True)
                raise KeyboardInterrupt
            walked += len(launched.batch.keys)
            if ended < walked:
                broken.append(launched.run_id)
                walked = ended
    return broken


def bring_up_to_date(bench: Workbench) -> list[str]:
    """Bring graph, warehouse and report up to date with the results; return the id of the run if it failed."""
    from callpipeline.pipeline.report import reported_revision

    if reported_revision(bench.settings.store) == bench.catalog.revision():
        return []
    from callpipeline.defs.launch import open_instance, roll_up
    from callpipeline.defs.resources import PipelineResource

    errors.print("bringing graph, warehouse and report up to date")
    with open_instance(bench.settings) as instance:
        launched = roll_up(instance, PipelineResource(settings=lambda: bench.settings))
    return [] if launched.success else [launched.run_id]


def say_broken_off(runs: Sequence[str]) -> None:
    """Name runs that ended before their time, if there are any."""
    if runs:
        errors.print(f"[red]broke off[/red]: see run {', '.join(runs)} in the Dagster UI.", soft_wrap=True)
