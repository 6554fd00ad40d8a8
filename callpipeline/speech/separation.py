"""Voices out of noise before a recording is transcribed: a high-pass and FFmpeg's noise reduction, through PyAV.

What belongs here: a cleaned copy of the sound, sample for sample as long as the original, so that times hold. What does not:
models that separate sources: none is shipped, and the result says what was used in their place.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from callpipeline.audio.decode import blocks, open_recording
from callpipeline.cancellation import checkpoint

if TYPE_CHECKING:
    from av import AudioFrame

METHOD = "afftdn+highpass"
VERSION = "1"
RATE = 16_000
HIGH_PASS = 80
"""Hz. Below it there is hum, and of voices next to nothing: telephones carry 300 Hz and up."""
NOISE_REDUCTION = 12
"""dB, FFmpeg's default of afftdn: more eats consonants."""

ABOVE_FLOOR = 4.0
"""dB from the quietest stretches to what afftdn takes for noise. Hiss at -34 dBFS under a sample call: 9.7 dB before, 17.9 dB
after with the floor told, 10.0 dB with the one that afftdn tracks by itself."""
DELAY = 400
"""Samples by which afftdn is late (25 ms at 16 kHz), measured by correlation."""


def write_cleaned(path: Path, target: Path) -> None:
    """Write the sound of ``path``, cleaned, to the FLAC file ``target`` (all channels, 16 kHz, 16 bit).

    Streamed: memory does not grow with the recording.

    Raises:
        SourceUnavailable, EmptyFile, NotAudio, CorruptAudio: see ``audio.decode.open_recording``.
    """
    import av

    floor = min(-20.0, max(-80.0, noise_floor(path) + ABOVE_FLOOR))
    with open_recording(path) as recording, av.open(str(target), "w", format="flac") as container:
        stream = None
        for frame in _in_time(_filtered(recording.frames(RATE), floor)):
            checkpoint()
            if stream is None:
                stream = container.add_stream("flac", rate=RATE, layout=frame.layout.name, format="s16")
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))


def _in_time(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
    """Leave out the first ``DELAY`` samples, which came from nowhere."""
    from av import AudioFrame

    late = DELAY
    for frame in frames:
        drop = min(late, frame.samples)
        late -= drop
        if not drop:
            yield frame
        elif drop < frame.samples:
            kept: Any = frame.to_ndarray()[:, drop * frame.layout.nb_channels :]
            rest = AudioFrame.from_ndarray(np.ascontiguousarray(kept), format="s16", layout=frame.layout.name)
            rest.sample_rate = RATE
            yield rest


def _filtered(frames: Iterator[AudioFrame], floor: float) -> Iterator[AudioFrame]:
    """Run frames, and the silence that pushes the last ones out, through the filters."""
    from av import AudioFrame

    graph: tuple[Any, Any, Any] | None = None  # with the graph itself, which its ends do not keep alive
    last: AudioFrame | None = None
    for frame in frames:
        frame.pts = None
        graph = graph or _graph(frame, floor)
        graph[1].push(frame)
        yield from _ready(graph[2])
        last = frame
    if graph is not None and last is not None:
        silence: Any = np.zeros(
            (last.to_ndarray().shape[0], DELAY * last.to_ndarray().shape[1] // last.samples)
        )
        kind: Any = last.to_ndarray().dtype
        end = AudioFrame.from_ndarray(silence.astype(kind), format=last.format.name, layout=last.layout.name)
        end.sample_rate = RATE
        graph[1].push(end)
        graph[1].push(None)
        yield from _ready(graph[2])


def noise_floor(path: Path) -> float:
    """Return the level (dBFS) that a tenth of the recording, in stretches of 0.1 s, is not above."""
    step = RATE // 10
    found = []
    for block in blocks(path, rate=RATE, block_seconds=10.0):
        checkpoint()
        mono = block.mean(axis=0)
        frames = mono[: mono.size // step * step].reshape(-1, step)
        found.append((frames.astype(np.float64) ** 2).mean(axis=1))
    power = np.concatenate(found) if found else np.zeros(0)
    return float(10 * np.log10(np.percentile(power, 10) + 1e-12)) if power.size else -120.0


def _graph(frame: AudioFrame, floor: float) -> tuple[Any, Any, Any]:
    from av.filter import Graph

    graph = Graph()
    layout = frame.layout.name
    source = graph.add_abuffer(
        sample_rate=RATE, format=frame.format.name, layout=layout, time_base=Fraction(1, RATE)
    )
    last = source
    for name, options in (
        ("highpass", f"f={HIGH_PASS}"),
        ("afftdn", f"nr={NOISE_REDUCTION}:nf={floor:.0f}"),
        ("aformat", f"sample_fmts=s16:channel_layouts={layout}:sample_rates={RATE}"),
        ("abuffersink", None),
    ):
        node = graph.add(name, options)
        last.link_to(node)
        last = node
    graph.configure()
    return graph, source, last


def _ready(sink: Any) -> Iterator[AudioFrame]:
    from av.error import BlockingIOError as NothingYet

    while True:
        try:
            frame = sink.pull()
        except (NothingYet, EOFError):
            return
        frame.pts = None
        yield frame
