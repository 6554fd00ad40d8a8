"""Worker processes and threads for the CPU-heavy parts of a run.

loky starts its workers without importing the caller's main module (which would be Dagster, seconds each) and
notices a worker that was killed. Pure-Python work goes to processes; work that releases the GIL (FFmpeg, ONNX,
CTranslate2) stays in threads of this process, where its models are loaded once.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar, cast

from callpipeline.cancellation import stop
from callpipeline.failures import ResourceExhausted

P = ParamSpec("P")
T = TypeVar("T")

IDLE_SECONDS = 60


class Workers:
    """Runs functions on ``count`` worker processes (``cpu``) or threads (``thread``), started at first use.

    Without ``processes`` all runs in threads: pure Python then takes turns, but nothing is started or copied.
    """

    def __init__(self, count: int, *, processes: bool = True) -> None:
        self.count = count
        self._use_processes = processes
        self._processes: Any = None
        self._threads: Executor | None = None
        self._starting = threading.Lock()
        self._stop = threading.Event()

    async def cpu(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in a worker process, if there are any. It and its arguments must be importable and picklable.

        Raises:
            ResourceExhausted: the worker died (killed, or out of memory); the pool is renewed for the next call.
        """
        if not self._use_processes:
            return await self.thread(fn, *args, **kwargs)
        from loky.process_executor import BrokenProcessPool, TerminatedWorkerError

        try:
            future = self._pool().submit(functools.partial(fn, *args, **kwargs))
            return cast(T, await asyncio.wrap_future(future))
        except (BrokenProcessPool, TerminatedWorkerError) as error:
            self._processes = None
            raise ResourceExhausted(
                f"a worker process died while it ran {getattr(fn, '__name__', fn)}: {type(error).__name__}.",
                hint="Most often memory ran out: lower CALLPIPELINE_WORKERS, then run again.",
            ) from error

    async def thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn`` in a thread. For work that releases the GIL and calls ``checkpoint`` in its loops."""
        with self._starting:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.count, thread_name_prefix="callpipeline")
            threads = self._threads
        context = contextvars.copy_context()
        context.run(stop.set, self._stop)
        call = functools.partial(context.run, functools.partial(fn, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(threads, call)

    def close(self, *, kill: bool = False) -> None:
        """Stop the workers; with ``kill`` at once, in the middle of what they do."""
        if kill:
            self._stop.set()
        if self._processes is not None:
            self._processes.shutdown(wait=not kill, kill_workers=kill)
            self._processes = None
        if self._threads is not None:
            self._threads.shutdown(wait=not kill, cancel_futures=True)
            self._threads = None

    def _pool(self) -> Any:
        with self._starting:  # a service lends its workers to the threads of its runs
            if self._processes is None:
                from loky import ProcessPoolExecutor
                from loky.backend import get_context

                self._processes = ProcessPoolExecutor(
                    max_workers=self.count,
                    context=get_context("loky"),
                    timeout=IDLE_SECONDS,
                    initializer=_start_worker,
                )
            return self._processes


def _start_worker() -> None:
    """One thread a worker: the pool is the parallelism, and a worker that is nice leaves the UI responsive."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.nice(5)
