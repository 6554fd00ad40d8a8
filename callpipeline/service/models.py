"""Models in the memory of this process: which there are, and forgetting those that nobody uses.

What belongs here: all kinds of models together. What does not: loading one (``whisper_weights``, ``nemo_weights``).
"""

from __future__ import annotations

import asyncio
import logging
import time

from callpipeline.service.documents import ModelInMemory
from callpipeline.speech.diarizers import nemo_weights
from callpipeline.speech.engines import whisper_weights

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
"""How often it is looked for idle models, at most."""


def in_memory() -> list[ModelInMemory]:
    """Tell which models are loaded."""
    now = time.monotonic()
    found = [
        ModelInMemory(
            engine="whisper",
            name=name,
            device=model.device,
            idle_seconds=0.0 if model.users else round(now - model.used, 1),
            note=model.note,
        )
        for name, model in whisper_weights.in_memory()
    ]
    for kind, name, nemo in nemo_weights.in_memory():
        idle = 0.0 if nemo.lock.locked() else round(now - nemo.used, 1)
        told = ModelInMemory(engine=kind, name=name, device=nemo.device, idle_seconds=idle, note=nemo.note)
        found.append(told)
    return found


def unload(idle_seconds: float = 0.0) -> int:
    """Forget models that nobody used for so long; return how many. Those at work stay."""
    gone = whisper_weights.unload(idle_seconds) + nemo_weights.unload(idle_seconds)
    if gone:
        log.info("%d idle models were unloaded", gone)
    return gone


async def unload_idle(after: float) -> None:
    """Unload models that were idle for ``after`` seconds, until cancelled."""
    while True:
        await asyncio.sleep(min(LOOK_SECONDS, max(0.1, after / 4)))
        await asyncio.to_thread(unload, after)
