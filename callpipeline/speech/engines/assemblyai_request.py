"""What is asked of AssemblyAI for a recording, and what it will cost. All pure: nothing is sent or written here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from callpipeline.audio.channels import channels_differ, voice_channels
from callpipeline.failures import NotConfigured
from callpipeline.limits.costs import Prices
from callpipeline.limits.ledger_rows import Order
from callpipeline.providers.assemblyai import Options, language_code
from callpipeline.settings import Settings
from callpipeline.speech.engines.base import PlannedCall, SpeechJob
from callpipeline.speech.engines.paid import order_of
from callpipeline.speech.trimming import Cut, cut, voice

PROVIDER = "assemblyai"
POOL = "assemblyai"
REVISION = "1"
"""Goes up when the same recording and models would give another text."""

SPEAKER_LABELS = "speaker_labels"
"""Name of the price of telling voices apart, which comes on top of the model's."""

WEBHOOK_HEADER = "X-Callpipeline-Webhook"
"""What carries the secret of a webhook."""

_LARGEST_UPLOAD = 2_200_000_000
"""Bytes of one file; https://www.assemblyai.com/docs/faq, as of 2026-11."""

_CONTAINERS = frozenset(
    ("wav", "mp3", "flac", "ogg", "aac", "aiff", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
)
_CODECS = ("pcm_", "mp3", "mp2", "flac", "aac", "alac", "opus", "vorbis")
_FLAC_SHARE = 0.6
"""Size of FLAC as a share of the samples, rather too high; for estimates."""


def models_of(settings: Settings) -> tuple[str, ...]:
    """Return the speech models in order of preference.

    Raises:
        NotConfigured: there are none.
    """
    models = tuple(m.strip() for m in settings.assemblyai_models.split(",") if m.strip())
    if not models:
        raise NotConfigured("CALLPIPELINE_ASSEMBLYAI_MODELS names no model.", hint="Name one, or unset it.")
    return models


def webhook_of(settings: Settings) -> tuple[str, str, str] | None:
    """Return address, header and secret of the webhook, ``None`` where jobs are looked at instead.

    Raises:
        NotConfigured: an address without a secret: anybody could say that a job has ended.
    """
    if settings.webhook_url is None:
        return None
    if settings.webhook_secret is None:
        raise NotConfigured(
            "CALLPIPELINE_WEBHOOK_URL is set without a secret.", hint="Set CALLPIPELINE_WEBHOOK_SECRET too."
        )
    return settings.webhook_url, WEBHOOK_HEADER, settings.webhook_secret.get_secret_value()


@dataclass(frozen=True)
class Wanted:
    """What is asked for one recording. A stereo recording goes as it is, each channel heard by itself."""

    job: SpeechJob
    settings: Settings

    @cached_property
    def options(self) -> Options:
        """The options of the request.

        Raises:
            NotConfigured: no model is named.
            NotFit: the recording's language is no language code.
        """
        return Options(
            language=language_code(self.job.language),
            models=models_of(self.settings),
            multichannel=self.job.by_channel,
            speakers=self.job.expected(self.settings.speakers),
            webhook=webhook_of(self.settings),
        )

    @cached_property
    def order(self) -> Order:
        """The order, under the model that is preferred."""
        options = self.options
        return order_of(
            self.job,
            PROVIDER,
            POOL,
            options.models[0],
            revision=REVISION,
            models=options.models,
            multichannel=options.multichannel,
            speakers=None if options.multichannel else options.speakers,
        )

    @property
    def channels(self) -> tuple[int, ...] | None:
        """The channels to send, ``None`` = all: of a recording whose channels are all the same, the first."""
        return None if channels_differ(self.job.info) else (0,)

    def cut(self, *, whole: bool = False) -> Cut:
        """Choose what is sent: all of it, or, if so set and not ``whole``, all but long silences."""
        speech = voice(self.job.activity, voice_channels(self.job.info))
        shorten = self.settings.cut_silences and speech and not whole
        return cut(self.job.info, speech, longest_silence=self.settings.longest_silence if shorten else None)

    def untouched(self, cut: Cut) -> bool:
        """Whether the recording's own bytes will do: nothing is cut, and AssemblyAI reads such files."""
        info = self.job.info
        return (
            cut.whole
            and info.format in _CONTAINERS
            and info.codec.startswith(_CODECS)
            and not info.has_video
            and info.decode_errors == 0
            and info.bytes <= _LARGEST_UPLOAD
        )

    def price(self, prices: Prices, model: str, seconds: float) -> float:
        """Return dollars for ``seconds`` of audio: AssemblyAI charges the length of the file, not of its channels.

        Raises:
            NotConfigured: the model has no price.
        """
        cost = prices.cost(PROVIDER, model, seconds=seconds)
        if self.options.multichannel:
            return cost
        return cost + prices.cost(PROVIDER, SPEAKER_LABELS, seconds=seconds)

    def estimate(self, prices: Prices, seconds: float) -> float:
        """Return dollars at the dearest of the models: which one knows the language is not known before.

        Rather too high, so that no budget is broken: the provider counts whole seconds.

        Raises:
            NotConfigured: a model has no price.
        """
        return max(self.price(prices, model, math.ceil(seconds)) for model in self.options.models)

    def planned(self, prices: Prices) -> PlannedCall:
        """Return the one job that the recording needs.

        Raises:
            NotConfigured: a model has no price.
        """
        sent, info = self.cut(), self.job.info
        channels = info.channels if self.channels is None else 1
        flac = round(sent.seconds * sent.rate * channels * 2 * _FLAC_SHARE)
        return PlannedCall(
            self.order.request_hash,
            PROVIDER,
            POOL,
            self.order.model,
            seconds=sent.seconds,
            cost=self.estimate(prices, sent.seconds),
            bytes=info.bytes if self.untouched(sent) else flac,
        )
