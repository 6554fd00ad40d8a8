"""What engines at a provider share: naming an order, keeping and restoring what was bought.

What does not belong here: how any provider is spoken to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callpipeline.failures import EngineFailed, problems
from callpipeline.limits.ledger import Claim, Reuse
from callpipeline.limits.ledger_rows import Order, Paid, request_hash
from callpipeline.model import Transcript
from callpipeline.speech.engines.base import EngineTools, SpeechJob
from callpipeline.speech.trimming import Cut, restored

PURPOSE = "transcription"


def order_of(
    job: SpeechJob, provider: str, pool: str, model: str, *, part: str = "", **options: Any
) -> Order:
    """Name what is wanted from a provider.

    The hash covers the recording's bytes, the model, the language and ``options``, not what silences are cut
    out: another cut of the same recording is no reason to pay again. ``part``: which part of the recording it is,
    for people; ``options`` must tell it too.
    """
    of = request_hash(
        purpose=PURPOSE,
        provider=provider,
        recording=job.identity,
        model=model,
        language=job.language,
        options=options,
    )
    return Order(of, provider, pool, model, recording=job.key, purpose=part or PURPOSE)


def result_of(transcript: Transcript, cut: Cut, provider: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a bought transcript, for ``Claim.finish``.

    ``transcript`` has the times of the audio that was sent, and went through ``EngineTools.clean``. ``cut``
    leads back to the recording. ``provider``: facts for people (the model that was used, warnings ...).
    """
    return {
        "transcript": transcript.model_dump(mode="json"),
        "cut": cut.to_json(),
        "provider": dict(provider),
    }


async def reused(claim: Claim, found: Reuse, tools: EngineTools) -> Paid:
    """Return what was bought before, cleaned as it is set now; what is kept of it is rewritten where that differs."""
    paid = found.paid
    try:
        kept = Transcript.model_validate(paid.result["transcript"])
    except (KeyError, TypeError, ValueError):
        return paid  # who restores it says so
    clean = await tools.thread(tools.clean, kept)
    if clean == kept:
        return paid
    return await claim.rewrite(paid, {**paid.result, "transcript": clean.model_dump(mode="json")})


def restored_from(result: Any, *, duration: float) -> Transcript:
    """Return a bought transcript with the times of its recording, which is ``duration`` seconds long.

    Raises:
        EngineFailed: what is kept cannot be read by this version.
    """
    try:
        transcript = Transcript.model_validate(result["transcript"])
        cut = Cut.from_json(result["cut"])
    except (KeyError, TypeError, ValueError) as error:
        raise EngineFailed(
            f"What was bought for this recording cannot be read: {problems(error)}.",
            hint="Remove its file from the store's folder paid/ to buy it again.",
        ) from None  # the exception quotes what was said in the recording
    return restored(transcript, cut, duration=duration)
