"""Starting a simulator from Python, on a thread here or in a process of its own, and talking to it.

Belongs here: the two classes that tests and benches use. They read figures over HTTP, like anybody else, so
that both ways of running look the same. The server's libraries are imported when one starts.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from callpipeline_tests.simulators.counting import CallRecord, JobRecord, Stats
from callpipeline_tests.simulators.latency import Latency
from callpipeline_tests.simulators.options import (
    MEBIBYTE,
    AssemblyAIOptions,
    OpenAIOptions,
    RateLimit,
    SimulatorOptions,
)
from callpipeline_tests.simulators.words import SpokenTurn

if TYPE_CHECKING:
    from callpipeline_tests.simulators.openai_api.responder import Responder
    from callpipeline_tests.simulators.server import Simulation
    from callpipeline_tests.simulators.serving import ServerThread

_ROOT = Path(__file__).resolve().parents[2]
_CALM: Mapping[str, RateLimit] = {}


class SimulatorError(Exception):
    """The simulator did not start, or turned an order down."""


class _Control:
    """The ``/_sim`` endpoints of one server."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        try:
            connection.request(method, f"/_sim/{path}", json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            value = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise SimulatorError(str(value.get("error", value)))
        return value


class FaultControl:
    """What shall go wrong; how faults are written is told in ``faults``."""

    def __init__(self, control: _Control) -> None:
        self._control = control

    def script(self, route: str, *faults: str) -> None:
        """Append faults for the next requests of a route (``*`` = any), such as ``"429:1", "ok", "reset"``.

        Raises:
            SimulatorError: one of them is unknown.
        """
        self._control.ask("POST", "faults", {"script": {route: list(faults)}})

    def rate(self, *rates: str, seed: int | None = None) -> None:
        """Replace the rates, such as ``"500=0.1", "submit/reset@after=0.05", "storm=0.2"``.

        Raises:
            SimulatorError: one of them cannot be read.
        """
        self._control.ask("POST", "faults", {"rates": list(rates), "seed": seed})

    def clear(self) -> None:
        """No more faults."""
        self._control.ask("DELETE", "faults")

    def waiting(self) -> dict[str, list[str]]:
        """Return the scripted faults that nothing has met yet."""
        waiting: dict[str, list[str]] = self._control.ask("GET", "faults")["script"]
        return waiting


class AnswerControl:
    """Who says what in which audio."""

    def __init__(self, control: _Control) -> None:
        self._control = control

    def register(
        self,
        sha256: str,
        turns: Iterable[SpokenTurn],
        *,
        duration: float | None = None,
        channels: int | None = None,
        language: str = "en",
    ) -> None:
        """Set the answer for a file, by the SHA-256 of its bytes or of its samples as 16-bit PCM.

        Registered bytes are never decoded, so that they need not be audio. ``duration`` (s) defaults to the
        end of the last turn, ``channels`` to what the turns use.
        """
        order = {
            "sha256": sha256,
            "turns": [turn.model_dump() for turn in turns],
            "duration": duration,
            "channels": channels,
            "language": language,
        }
        self._control.ask("POST", "answers", order)


class Simulator:
    """A simulator that runs for as long as its ``with`` block, or from ``start`` to ``stop``."""

    api: str
    _environment: tuple[str, str]
    _base_path: str

    def __init__(self, options: SimulatorOptions, *, child: bool) -> None:
        self.options = options
        self._child = child
        self._process: subprocess.Popen[bytes] | None = None
        self._server: ServerThread | None = None
        self._simulation: Simulation | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it; when this returns it answers.

        Raises:
            SimulatorError: the child process ended at once.
        """
        self.port = self._start_child() if self._child else self._start_thread()
        control = _Control(self.options.host, self.port)
        self._control = control
        self.faults = FaultControl(control)
        self.answers = AnswerControl(control)
        return self

    def stop(self) -> None:
        """Stop it; a second time does nothing."""
        if self._process:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(10)
            assert self._process.stdout
            self._process.stdout.close()
            self._process = None
        if self._server:
            self._server.stop()
            self._server = None
        if self._simulation:
            self._simulation.close()
            self._simulation = None

    @property
    def base_url(self) -> str:
        """What the SDK calls its base URL."""
        return f"http://{self.options.host}:{self.port}{self._base_path}"

    @property
    def api_key(self) -> str:
        """The only key that is accepted."""
        return self.options.api_key

    def environment(self) -> dict[str, str]:
        """Return the variables with which the official SDK finds this server."""
        url, key = self._environment
        return {url: self.base_url, key: self.api_key}

    @property
    def stats(self) -> Stats:
        """All figures, as they are now."""
        return Stats.model_validate(self._control.ask("GET", "stats"))

    def calls(self, route: str | None = None) -> list[CallRecord]:
        """Return the last requests (5,000 at most), oldest first: what was sent, and what became of it."""
        query = f"?route={route}" if route else ""
        return [CallRecord.model_validate(call) for call in self._control.ask("GET", f"calls{query}")]

    def takes(self, latency: str) -> None:
        """Set how long work takes that begins from now on, such as ``"fixed:3"``; what is under way stays as it is.

        Raises:
            SimulatorError: it cannot be read.
        """
        self._control.ask("POST", "latency", {"latency": latency})

    def reset(self) -> None:
        """Forget all figures, jobs, files and scripts; answers stay, rates are those of the start."""
        self._control.ask("POST", "reset")

    def _simulate(self) -> Simulation:
        raise NotImplementedError

    def _start_thread(self) -> int:
        from callpipeline_tests.simulators.control import Control
        from callpipeline_tests.simulators.serving import ServerThread

        self._simulation = self._simulate()
        app = self._simulation.asgi(Control(self._simulation).routes())
        self._server = ServerThread(app, self.options.host, self.options.port)
        return self._server.start()

    def _start_child(self) -> int:
        """Start this simulator in a process that ends when we do (its standard input closes)."""
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "callpipeline_tests.simulators", "--child", self.api]
        self._process = subprocess.Popen(
            [*command, self.options.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self.stop()
            raise SimulatorError(
                f"the simulator's process ended with status {status}; see its messages above"
            )
        return int(line)


class AssemblyAISimulator(Simulator):
    """AssemblyAI's pre-recorded API.

    Routes: upload, submit, poll, list, delete, sentences, paragraphs, srt, vtt.

    Faults on the route ``webhook`` lose the message. ``latency`` is how long a job is processed.
    """

    api = "assemblyai"
    _environment = ("ASSEMBLYAI_BASE_URL", "ASSEMBLYAI_API_KEY")
    _base_path = ""

    def __init__(
        self,
        *,
        concurrency: int = 5,
        latency: Latency | str = "none",
        http_latency: Latency | str = "none",
        limits: Mapping[str, RateLimit] = _CALM,
        window_seconds: float = 60.0,
        retry_after: bool = True,
        faults: Iterable[str] = (),
        seed: int = 0,
        dialogues: Path | None = None,
        hearing: Literal["invented", "tones"] = "invented",
        timeline: Path | None = None,
        port: int = 0,
        child: bool = False,
    ) -> None:
        """Set it up; see ``options`` for the meanings. ``child`` = in a process of its own."""
        super().__init__(
            AssemblyAIOptions(
                concurrency=concurrency,
                latency=Latency.model_validate(latency),
                http_latency=Latency.model_validate(http_latency),
                limits=dict(limits),
                window_seconds=window_seconds,
                retry_after=retry_after,
                faults=tuple(faults),
                seed=seed,
                dialogues=dialogues,
                hearing=hearing,
                timeline=timeline,
                port=port,
            ),
            child=child,
        )

    def jobs(self) -> list[JobRecord]:
        """Return all jobs in the order in which they were submitted."""
        return [JobRecord.model_validate(job) for job in self._control.ask("GET", "jobs")]

    def _simulate(self) -> Simulation:
        from callpipeline_tests.simulators.assemblyai_api.app import AssemblyAI

        assert isinstance(self.options, AssemblyAIOptions)
        return AssemblyAI(self.options)


class OpenAISimulator(Simulator):
    """OpenAI's API.

    Routes: transcriptions, chat, responses, embeddings, files, file, file_content, batches, batch,
    batch_cancel, models, model. ``limits`` has the groups ``audio``, ``chat`` (also responses) and ``embeddings``.
    ``responder`` answers chats; with ``child`` it must be ``module:function``.
    """

    api = "openai"
    _environment = ("OPENAI_BASE_URL", "OPENAI_API_KEY")
    _base_path = "/v1"

    def __init__(
        self,
        *,
        latency: Latency | str = "none",
        http_latency: Latency | str = "none",
        limits: Mapping[str, RateLimit] = _CALM,
        window_seconds: float = 60.0,
        retry_after: bool = True,
        honour_idempotency: bool = False,
        responder: Responder | str | None = None,
        max_audio_bytes: int = 25 * MEBIBYTE,
        batch_seconds: float = 0.2,
        faults: Iterable[str] = (),
        seed: int = 0,
        dialogues: Path | None = None,
        hearing: Literal["invented", "tones"] = "invented",
        timeline: Path | None = None,
        port: int = 0,
        child: bool = False,
    ) -> None:
        """Set it up; see ``options`` for the meanings. ``child`` = in a process of its own."""
        self._responder = None if isinstance(responder, str) else responder
        if child and self._responder:
            raise SimulatorError("a simulator in another process needs its responder as 'module:function'")
        super().__init__(
            OpenAIOptions(
                latency=Latency.model_validate(latency),
                http_latency=Latency.model_validate(http_latency),
                limits=dict(limits),
                window_seconds=window_seconds,
                retry_after=retry_after,
                idempotency="honoured" if honour_idempotency else "ignored",
                responder=responder if isinstance(responder, str) else None,
                max_audio_bytes=max_audio_bytes,
                batch_seconds=batch_seconds,
                faults=tuple(faults),
                seed=seed,
                dialogues=dialogues,
                hearing=hearing,
                timeline=timeline,
                port=port,
            ),
            child=child,
        )

    def _simulate(self) -> Simulation:
        from callpipeline_tests.simulators.openai_api.app import OpenAI

        assert isinstance(self.options, OpenAIOptions)
        return OpenAI(self.options, self._responder)


def from_options(api: str, options: str) -> Simulator:
    """Return a simulator from its options as JSON, to run on a thread of this process."""
    if api == "assemblyai":
        simulator: Simulator = AssemblyAISimulator()
        simulator.options = AssemblyAIOptions.model_validate_json(options)
    else:
        simulator = OpenAISimulator()
        simulator.options = OpenAIOptions.model_validate_json(options)
    return simulator
