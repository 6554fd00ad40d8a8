"""NeMo models for diarization: whether their weights are here, fetching them, and the loaded ones of a process.

What belongs here: files, the hub's cache, devices, memory. What does not: diarizing. NeMo and torch are in the extra
``nemo``; importing them takes about 10 s and 700 MB, so nothing here does before a model is needed.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar

from callpipeline.failures import EngineFailed, NotConfigured, ResourceExhausted

log = logging.getLogger(__name__)

T = TypeVar("T")
Kind = Literal["sortformer", "titanet"]

INSTALL = (
    "Install it, in an environment of its own: pip install 'callpipeline[nemo]'. "
    "Beside it, dagster's --select cannot be read (another ANTLR); callpipeline run and serve work."
)
_VARIABLE = {"sortformer": "CALLPIPELINE_SORTFORMER_MODEL", "titanet": "CALLPIPELINE_TITANET_MODEL"}


@dataclass
class LoadedModel:
    """A model in memory. ``note`` says what is not as it was asked for; ``lock`` lets one recording in at a time."""

    model: Any
    device: str
    note: str = ""
    used: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)


def installed() -> bool:
    """Tell whether NeMo is there, without importing it."""
    return find_spec("nemo") is not None and find_spec("torch") is not None


def local_weights(name: str) -> Path | None:
    """Return the ``.nemo`` file of a model on this machine, or ``None``. Never asks the network.

    Args:
        name: A file, or a hub repository ``owner/name``.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_absolute() or name.count("/") != 1:
        return None
    from huggingface_hub.constants import HF_HUB_CACHE

    kept = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "snapshots"
    return next(iter(sorted(kept.glob("*/*.nemo"))), None)


def ready(name: str) -> bool:
    """Tell whether a model can be used here and now: NeMo is installed and the weights are here."""
    return installed() and local_weights(name) is not None


_lock = threading.Lock()
_loaded: dict[tuple[Kind, str, str], LoadedModel] = {}


def load(kind: Kind, name: str, device: str) -> LoadedModel:
    """Return a model, loaded once a process. ``device`` auto takes CUDA where it works, else the CPU.

    Raises:
        NotConfigured: NeMo or the weights are missing, or the device cannot be used.
        ResourceExhausted: memory does not suffice.
    """
    key = (kind, name, device)
    with _lock:
        if key not in _loaded:
            _loaded[key] = _load(kind, name, device)
        _loaded[key].used = time.monotonic()
        return _loaded[key]


def unload(idle_seconds: float = 0.0) -> int:
    """Forget models that nobody used for so long; return how many. One that is at work stays."""
    with _lock:
        idle = [key for key, it in _loaded.items() if time.monotonic() - it.used >= idle_seconds]
        idle = [key for key in idle if not _loaded[key].lock.locked()]
        for key in idle:
            del _loaded[key]
    if idle:
        gc.collect()
        _empty_cuda()
    return len(idle)


def in_memory() -> list[tuple[Kind, str, LoadedModel]]:
    """Return the loaded models, with kind and name."""
    with _lock:
        return [(kind, name, it) for (kind, name, _), it in _loaded.items()]


def use(loaded: LoadedModel, work: Callable[[Any], T]) -> T:
    """Do ``work`` with a model. Where CUDA's memory gives out, the model moves to the CPU and the work is done there.

    Raises:
        ResourceExhausted: memory gave out on the CPU too.
        EngineFailed: the model broke.
    """
    with loaded.lock:
        try:
            return _guarded(loaded, work)
        except ResourceExhausted as error:
            if loaded.device == "cpu":
                raise
            log.warning("%s; going on on the CPU", error)
            _empty_cuda()
            loaded.model = loaded.model.to("cpu")
            loaded.device, loaded.note = "cpu", "memory of the GPU gave out: diarized on the CPU"
            _empty_cuda()
            return _guarded(loaded, work)
        finally:
            loaded.used = time.monotonic()


def _guarded(loaded: LoadedModel, work: Callable[[Any], T]) -> T:
    import torch

    try:
        with torch.inference_mode():
            return work(loaded.model)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ResourceExhausted(
            f"memory of {loaded.device} gave out while diarizing.",
            hint="Set CALLPIPELINE_DIARIZER=spectral, or give it more memory.",
        ) from error
    except (RuntimeError, ValueError, IndexError) as error:
        raise EngineFailed(f"the NeMo model broke: {error}.") from error


def _load(kind: Kind, name: str, device: str) -> LoadedModel:
    if not installed():
        raise NotConfigured(
            f"the diarization engine {kind!r} needs NeMo, which is not installed.", hint=INSTALL
        )
    import torch

    path = local_weights(name) or _fetched(kind, name)
    # The transcription runs beside it: with all cores for both, their threads wait for each other and both take longer.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    wanted = "cuda" if device == "auto" and torch.cuda.is_available() else device
    wanted = "cpu" if wanted == "auto" else wanted
    try:
        return LoadedModel(_restored(kind, path, wanted), wanted)
    except ResourceExhausted as error:
        if wanted == "cpu" or device != "auto":
            raise
        return LoadedModel(_restored(kind, path, "cpu"), "cpu", f"diarized on the CPU: {error}")


def _restored(kind: Kind, path: Path, device: str) -> Any:
    import torch

    try:
        return _class_of(kind).restore_from(str(path), map_location=device).eval()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ResourceExhausted(f"memory of {device} does not suffice for {path.name}.") from error
    except Exception as error:  # torch, tarfile, omegaconf and NeMo each raise their own
        raise NotConfigured(
            f"the model file {path} cannot be loaded on {device} as {kind}: {type(error).__name__}: {error}.",
            hint=f"Point {_VARIABLE[kind]} at a .nemo file of that kind.",
        ) from error


def _class_of(kind: Kind) -> Any:
    from nemo.collections.asr.models import (
        EncDecSpeakerLabelModel,
        SortformerEncLabelModel,
        sortformer_diar_models,
    )
    from nemo.utils import logging as nemo_log

    # It draws a progress bar for each recording, and has no switch for it.
    sortformer_diar_models.tqdm = _undrawn
    nemo_log.setLevel(logging.ERROR)
    return SortformerEncLabelModel if kind == "sortformer" else EncDecSpeakerLabelModel


def _undrawn(steps: Iterable[T], **_: object) -> Iterable[T]:
    return steps


def _fetched(kind: Kind, name: str) -> Path:
    """Download the weights from the hub.

    Raises:
        NotConfigured: they are not there, or the hub cannot be reached.
    """
    hint = f"Connect to the network once, or copy the .nemo file here and set {_VARIABLE[kind]} to it."
    if Path(name).expanduser().is_absolute() or name.count("/") != 1 or name.endswith(".nemo"):
        raise NotConfigured(f"there is no model file {name}.", hint=hint)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, f"{name.partition('/')[2]}.nemo"))
    except Exception as error:  # the hub's client raises its own, httpx's and OS errors
        said = f"the weights of {name} are not on this machine and could not be downloaded ({type(error).__name__})."
        raise NotConfigured(said, hint=hint) from error


def _empty_cuda() -> None:
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
