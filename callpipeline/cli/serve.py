"""``callpipeline serve``: the speech service on a port."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer
from rich.markup import escape

from callpipeline.cli.views import errors
from callpipeline.failures import NotConfigured, UsageError
from callpipeline.settings import Settings

PORT = 8090
HERE = ("127.0.0.1", "localhost", "::1")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 = all of this machine.")] = HERE[0],
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = PORT,
) -> None:
    """Serve transcripts with speakers over HTTP. OpenAI's clients work too: base URL http://HOST:PORT/v1.

    Its documentation is at http://HOST:PORT/docs. Tasks survive restarts; Ctrl-C puts what is under way back into
    the queue. Beyond this machine it answers only with API keys: callpipeline keys add NAME.
    """
    if find_spec("fastapi") is None:
        raise NotConfigured(
            "the service is not installed.", hint="Install it: pip install 'callpipeline[service]'."
        )
    import uvicorn

    from callpipeline.service.app import create_app
    from callpipeline.service.stream_api import MOST_BYTES

    settings = Settings()
    app = create_app(settings)
    if host not in HERE and not app.state.service.keys.needed():
        raise UsageError(
            f"without API keys the service does not listen on {host}: everybody who reaches it could use it.",
            hint="Make one: callpipeline keys add NAME. Or leave --host out.",
        )
    shown = f"[{host}]" if ":" in host else host
    errors.print(escape(f"serving on http://{shown}:{port}, documentation at http://{shown}:{port}/docs"))
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=10,
        server_header=False,
        ws_max_size=MOST_BYTES,
    )
