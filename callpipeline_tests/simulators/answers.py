"""Which words belong to which audio: registered answers, the samples' dialogues, pieces of a long recording, for
the rest invented words, or those that are really heard in it.

Belongs here: looking answers up by hash. Does not: how a provider writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from callpipeline_tests.simulators.audio import NotAudioError, Sound, inspect
from callpipeline_tests.simulators.words import SpokenTurn, in_order, invented_turns

if TYPE_CHECKING:
    from callpipeline_tests.simulators.timeline import Heard, Timeline
    from callpipeline_tests.tone_speech import ToneWord

_PAUSE = 0.4
_SENTENCE = 12


@dataclass(frozen=True)
class Answer:
    """What is said in one recording. ``duration`` in seconds."""

    turns: tuple[SpokenTurn, ...]
    duration: float
    channels: int
    language: str = "en"

    @property
    def text(self) -> str:
        """All turns in order of start."""
        return " ".join(turn.text for turn in self.turns)


class Answers:
    """Answers by the SHA-256 of the file's bytes or of its decoded 16-bit samples."""

    def __init__(
        self, hearing: Literal["invented", "tones"] = "invented", timeline: Path | None = None
    ) -> None:
        """``hearing``: what is said in audio that nobody registered and that is no piece of ``timeline``."""
        self._hearing = hearing
        self._timeline = _loaded(timeline) if timeline else None
        self._pieces: dict[str, Heard | None] = {}
        self._known: dict[str, Answer] = {}
        self._sounds: dict[str, Sound] = {}

    def register(
        self,
        sha256: str,
        turns: Iterable[SpokenTurn],
        *,
        duration: float | None = None,
        channels: int | None = None,
        language: str = "en",
    ) -> None:
        """Set the answer for audio with this hash. ``duration`` defaults to the end of the last turn."""
        ordered = tuple(in_order(turns))
        self._known[sha256] = Answer(
            turns=ordered,
            duration=max((turn.end for turn in ordered), default=0.0) if duration is None else duration,
            channels=channels or max((turn.channel + 1 for turn in ordered), default=1),
            language=language,
        )

    def load_dialogues(self, source: Path) -> int:
        """Register every recording of ``source``/expected/*.json that has a dialogue; return how many.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        folder = source / "expected"
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}: give the folder that holds expected/*.json")
        truths = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
        spoken = [truth for truth in truths if truth["channels"] and truth["dialogue"]]
        for truth in spoken:
            self.register(
                truth["sha256"],
                _turns(truth),
                duration=truth["duration"],
                channels=truth["channels"],
            )
        return len(spoken)

    def find(self, sha256: str) -> Answer | None:
        """Return the registered answer of a file, without decoding anything."""
        return self._known.get(sha256)

    def answer(self, sha256: str, path: Path) -> Answer:
        """Return what is said in the file: registered, known from the timeline, heard, or invented.

        Raises:
            NotAudioError: unknown bytes that are no audio.
        """
        if known := self.find(sha256):
            return known
        if piece := self._piece(sha256, path):
            return Answer(piece.turns, piece.duration, piece.channels)
        sound = self._sounds.get(sha256) or inspect(path)
        self._sounds[sha256] = sound
        if known := self.find(sound.pcm_sha256):
            return replace(known, duration=sound.duration, channels=sound.channels)
        if self._hearing == "tones":
            from callpipeline_tests.tone_speech import hear

            turns = [turn for number, words in enumerate(hear(path)) for turn in _heard(words, number)]
        else:
            turns = invented_turns(sha256, sound.duration, sound.channels)
        return Answer(tuple(in_order(turns)), sound.duration, sound.channels)

    def _piece(self, sha256: str, path: Path) -> Heard | None:
        if self._timeline is not None and sha256 not in self._pieces:
            self._pieces[sha256] = self._timeline.heard(path)
        return self._pieces.get(sha256)


def _loaded(timeline: Path) -> Timeline:
    from callpipeline_tests.simulators.timeline import Timeline

    return Timeline.load(timeline)


def _heard(words: Sequence[ToneWord], channel: int) -> Iterator[SpokenTurn]:
    """Yield the words of one channel as turns, which end at pauses and are no longer than a sentence."""
    turn: list[ToneWord] = []
    for word, following in zip_longest(words, words[1:]):
        turn.append(word)
        if following is None or following.start - word.end >= _PAUSE or len(turn) >= _SENTENCE:
            yield SpokenTurn(
                speaker=f"voice {channel}",
                start=turn[0].start,
                end=turn[-1].end,
                text=" ".join(w.text for w in turn).capitalize() + ".",
                channel=channel,
                times=tuple((w.start, w.end) for w in turn),
            )
            turn = []


def _turns(truth: Mapping[str, Any]) -> list[SpokenTurn]:
    """Return the dialogue of a sample; channel 0 is the agent's unless the metadata says otherwise."""
    roles = truth["metadata"].get("channel_roles") or {"0": "agent", "1": "customer"}
    channel = {role: int(number) for number, role in roles.items()} if truth["channels"] > 1 else {}
    return [
        SpokenTurn(
            speaker=line["speaker"],
            start=line["start"],
            end=line["end"],
            text=line["text"],
            channel=channel.get(line["speaker"], 0),
        )
        for line in truth["dialogue"]
    ]


__all__ = ["Answer", "Answers", "NotAudioError"]
