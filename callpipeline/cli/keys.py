"""``callpipeline keys``: who may use the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from callpipeline.cli.views import console, errors
from callpipeline.failures import UsageError
from callpipeline.settings import Settings

if TYPE_CHECKING:
    from callpipeline.service.keys import Keys

app = typer.Typer(
    no_args_is_help=True,
    help="API keys of the service: add, list, revoke. With the first key, requests without one are refused.",
)
DEFAULT_SCOPES = "transcribe,read"


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What the key is called, in the audit log too.")],
    scopes: Annotated[
        str,
        typer.Option(
            help="What it may do: transcribe (send recordings), read (its own tasks), metrics, admin (all)."
        ),
    ] = DEFAULT_SCOPES,
) -> None:
    """Make an API key and print it. It is shown once: only its hash is kept."""
    from callpipeline.service.keys import Scope

    asked = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    unknown = sorted({*asked} - {scope.value for scope in Scope})
    if unknown or not asked:
        raise UsageError(
            f"there is no scope {unknown[0]!r}." if unknown else "a key without scopes opens nothing.",
            hint=f"Scopes: {', '.join(scope.value for scope in Scope)}.",
        )
    with _keys() as keys:
        made = keys.add(name, tuple(Scope(scope) for scope in asked))
    typer.echo(made)
    errors.print("Keep it: it cannot be shown again. Send it as Authorization: Bearer ... or X-API-Key.")


@app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, for scripts.")] = False,
) -> None:
    """Show all keys, never their secrets."""
    with _keys() as keys:
        found = keys.all()
    if as_json:
        typer.echo(json.dumps([key.model_dump(mode="json") for key in found]))
        return
    table = Table(pad_edge=False)
    for column in ("name", "id", "scopes", "made", "revoked"):
        table.add_column(column, overflow="fold")
    for key in found:
        made, gone = _day(key.created), "" if key.revoked is None else _day(key.revoked)
        table.add_row(escape(key.name), key.id, ", ".join(key.scopes), made, gone)
    console.print(table)
    if not found:
        console.print("no keys: the service answers on this machine only, to everybody")


@app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="Name or id of the key.")]) -> None:
    """Let a key open nothing any more, within seconds."""
    with _keys() as keys:
        keys.revoke(name)
    console.print(f"{escape(name)} opens nothing any more")


@contextmanager
def _keys() -> Iterator[Keys]:
    from callpipeline.service.keys import Keys
    from callpipeline.service.tables import open_service_tables

    database = open_service_tables(Settings())
    try:
        yield Keys(database)
    finally:
        database.close()


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
