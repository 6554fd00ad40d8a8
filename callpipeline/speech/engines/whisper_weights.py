"""Whisper weights: whether they are here, fetching them when asked to, and the one loaded model of a process.

What belongs here: folders, the hub's cache, devices. What does not: transcribing.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callpipeline.failures import NotConfigured, ResourceExhausted

NEEDED_FILES = ("model.bin", "config.json", "tokenizer.json")
"""Without any of these faster-whisper cannot load the model, or asks a hub for the missing part."""


@dataclass
class LoadedModel:
    """A model in memory. ``note`` says what is not as it was asked for; ``users``: recordings that it hears now."""

    model: Any
    device: str
    note: str = ""
    used: float = field(default_factory=time.monotonic)
    users: int = 0


def local_weights(name: str) -> Path | None:
    """Return the folder of complete weights on this machine, or ``None``. Never asks the network.

    Args:
        name: A folder, a faster-whisper size such as ``small.en``, or a hub repository ``owner/name``.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder if _complete(folder) else None
    if not _cache_mentions_whisper(name):
        return None
    from faster_whisper.utils import download_model

    try:
        cached = Path(download_model(name, local_files_only=True))
    except (OSError, ValueError):
        return None
    return cached if _complete(cached) else None


def weights(name: str) -> Path:
    """Return the folder of the weights, downloading them from the hub if they are not here.

    Raises:
        NotConfigured: they are not here and cannot be fetched; the message says what to do.
    """
    found = local_weights(name)
    if found is not None:
        return found
    folder = Path(name).expanduser()
    if folder.is_dir() or folder.is_absolute() or name.startswith(("~", ".")):
        missing = [f for f in NEEDED_FILES if not (folder / f).is_file()]
        raise NotConfigured(
            f"the Whisper model folder {name} is not complete: {', '.join(missing)} is missing.",
            hint="Point CALLPIPELINE_WHISPER_MODEL at a CTranslate2 model folder, or name a size (small.en).",
        )
    from faster_whisper.utils import available_models, download_model

    if "/" not in name and name not in available_models():
        raise NotConfigured(
            f"there is no Whisper model {name!r}.",
            hint=f"Set CALLPIPELINE_WHISPER_MODEL to a folder or one of: {', '.join(available_models())}.",
        )
    try:
        fetched = Path(download_model(name))
    except Exception as error:  # the hub's client raises its own, httpx's and OS errors
        raise NotConfigured(
            f"the weights of Whisper model {name!r} are not on this machine and could not be downloaded "
            f"({type(error).__name__}).",
            hint="Connect to the network once, or copy a CTranslate2 model folder here and set "
            "CALLPIPELINE_WHISPER_MODEL to it, or set CALLPIPELINE_TRANSCRIBER=sphinx for the demo engine.",
        ) from error
    if not _complete(fetched):
        raise NotConfigured(
            f"the repository of Whisper model {name!r} holds no complete CTranslate2 model.",
            hint=f"It needs {', '.join(NEEDED_FILES)}.",
        )
    return fetched


def _complete(folder: Path) -> bool:
    return all((folder / file).is_file() for file in NEEDED_FILES)


def _cache_mentions_whisper(name: str) -> bool:
    """Look at folder names only: importing faster-whisper to ask it takes seconds."""
    from huggingface_hub.constants import HF_HUB_CACHE

    wanted = f"models--{name.replace('/', '--')}".lower()
    try:
        folders = [entry.name.lower() for entry in os.scandir(HF_HUB_CACHE)]
    except OSError:
        return False
    return any(f == wanted or (f.startswith("models--") and "whisper" in f) for f in folders)


_lock = threading.Lock()
_loaded: dict[tuple[str, str, str, int], LoadedModel] = {}


def load(name: str, device: str, compute_type: str, threads: int = 0) -> LoadedModel:
    """Return the model, loaded once a process. ``device`` auto takes CUDA where it works, else the CPU.

    ``threads`` of the CPU that it works with; 0: all cores.

    Raises:
        NotConfigured: no weights, or they or the asked-for device cannot be used.
        ResourceExhausted: memory does not suffice.
    """
    key = (name, device, compute_type, threads)
    with _lock:
        if key not in _loaded:
            _loaded.clear()
            _loaded[key] = _load(*key)
        _loaded[key].used = time.monotonic()
        return _loaded[key]


@contextmanager
def at_work(loaded: LoadedModel) -> Iterator[LoadedModel]:
    """Keep a model from being unloaded while the block lasts. Several recordings may use it at once."""
    with _lock:
        loaded.users += 1
    try:
        yield loaded
    finally:
        with _lock:
            loaded.users -= 1
            loaded.used = time.monotonic()


def unload(idle_seconds: float = 0.0) -> int:
    """Forget models that nobody used for so long; return how many. One that is at work stays."""
    with _lock:
        now = time.monotonic()
        idle = [key for key, it in _loaded.items() if not it.users and now - it.used >= idle_seconds]
        for key in idle:
            del _loaded[key]
    if idle:
        gc.collect()  # CTranslate2 gives the memory back with the last reference
    return len(idle)


def in_memory() -> list[tuple[str, LoadedModel]]:
    """Return the loaded models, by name."""
    with _lock:
        return [(name, it) for (name, *_), it in _loaded.items()]


def fall_back_to_cpu(name: str, compute_type: str, because: str, threads: int = 0) -> LoadedModel:
    """Load the model on the CPU after CUDA broke, for the rest of this process."""
    key = (name, "auto", compute_type, threads)
    with _lock:
        if key not in _loaded or _loaded[key].device != "cpu":
            _loaded.clear()
            _loaded[key] = _on_cpu(weights(name), compute_type, because, threads)
        return _loaded[key]


def _load(name: str, device: str, compute_type: str, threads: int) -> LoadedModel:
    folder = weights(name)
    if device == "cpu" or (device == "auto" and not _cuda_devices()):
        return _on_cpu(folder, compute_type, "", threads)
    try:
        return LoadedModel(_open(folder, "cuda", compute_type), "cuda")
    except NotConfigured as error:
        if device != "auto":
            raise
        return _on_cpu(folder, compute_type, str(error), threads)


def _on_cpu(folder: Path, compute_type: str, because: str, threads: int) -> LoadedModel:
    # The published weights are float16, which a CPU can only widen; int8 is several times as fast there.
    model = _open(folder, "cpu", "int8" if compute_type == "default" else compute_type, threads)
    return LoadedModel(model, "cpu", f"whisper ran on the CPU: {because}" if because else "")


def _open(folder: Path, device: str, compute_type: str, threads: int = 0) -> Any:
    from faster_whisper import WhisperModel

    try:
        return WhisperModel(str(folder), device=device, compute_type=compute_type, cpu_threads=threads)
    except MemoryError as error:
        raise ResourceExhausted(
            "memory does not suffice for the Whisper model.",
            hint="Choose a smaller CALLPIPELINE_WHISPER_MODEL.",
        ) from error
    except (
        Exception
    ) as error:  # CTranslate2 and the tokenizer raise RuntimeError, ValueError and bare Exception
        raise NotConfigured(
            f"the Whisper model in {folder} cannot be loaded on {device} as {compute_type}: {error}.",
            hint="Check the folder, CALLPIPELINE_WHISPER_DEVICE and CALLPIPELINE_WHISPER_COMPUTE_TYPE.",
        ) from error


def _cuda_devices() -> int:
    import ctranslate2

    return int(ctranslate2.get_cuda_device_count())
