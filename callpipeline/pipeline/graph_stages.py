"""The stages of the knowledge graph: a recording's text chunks, and what is found in them.

What belongs here: their rows of the table of ``stages``. What does not: cutting and finding (``graph``), and the graph
over all recordings, which is no stage of one.
"""

from __future__ import annotations

from collections.abc import Mapping

from callpipeline.failures import CallPipelineError, Recorded
from callpipeline.graph.extractors import REMOTE
from callpipeline.graph.extractors.base import RemoteGraphExtractor
from callpipeline.knowledge import KgExtraction, TextChunks
from callpipeline.model import SpeakerTurns, Transcript
from callpipeline.pipeline.case import Case, Inputs
from callpipeline.pipeline.stage import Stage
from callpipeline.pipeline.workbench import Workbench


async def _text_chunks(case: Case, inputs: Inputs) -> TextChunks:
    from callpipeline.graph.text_chunks import text_chunks

    transcript = inputs.get("transcripts", Transcript)
    return await case.bench.workers.thread(  # of a long recording it takes long enough to hold up what is on its way
        text_chunks,
        inputs.get("speaker_turns", SpeakerTurns),
        transcript,
        recording=case.key,
        title=case.title,
        language=transcript.language or case.language,
        characters=case.bench.settings.text_chunk_characters,
    )


async def _kg_extractions(case: Case, inputs: Inputs) -> KgExtraction:
    chunks = inputs.get("text_chunks", TextChunks)
    await _check(case, chunks)
    return await case.bench.extractor.extract(chunks)


async def _check(case: Case, chunks: TextChunks) -> None:
    """Let text through to a provider, or say what that has against us. What is bought already is let through unseen.

    Raises:
        NotFit, Recorded: see ``fitness.let_through``.
        CallPipelineError: the provider does not answer, so nothing is known of the account.
    """
    from callpipeline.pipeline.fitness import let_through

    bench = case.bench
    extractor = bench.extractor
    if not isinstance(extractor, RemoteGraphExtractor) or bench.graph_account.well:
        return
    plan = await bench.checks.do(extractor.planned, [chunks])
    if plan.to_send or bench.force_paid:
        account = await bench.asked_extractor()
        let_through(account, what=f"the text of {case.name}", provider=extractor.name)


def _says_something(case: Case, inputs: Inputs) -> bool:
    """Whether there is text. While the transcript is not known it may have some."""
    transcript = inputs.find("transcripts", Transcript)
    return transcript is None or (transcript.skipped_reason is None and bool(transcript.text.strip()))


def _missing(extraction: KgExtraction) -> Recorded | None:
    """Say in how many text chunks nothing could be looked for, and why."""
    failed = extraction.failed
    if not failed:
        return None
    count = "1 text chunk has" if len(failed) == 1 else f"{len(failed)} text chunks have"
    reasons = dict.fromkeys(
        (chunk.message or chunk.error_class or "no reason told").rstrip(".") for chunk in failed
    )
    message = (
        f"{count} no result, of {len(extraction.chunks)}: {'; '.join(reasons)}. The rest is kept; the next run tries "
        "only what is missing."
    )
    return Recorded(
        failed[0].error_class or "internal", message, permanent=all(chunk.permanent for chunk in failed)
    )


def _rules(bench: Workbench) -> Mapping[str, object]:
    from callpipeline.graph import text_chunks, worth

    rules = [text_chunks.RULE_VERSION, worth.RULE_VERSION]
    return {"rules": rules, "characters": bench.settings.text_chunk_characters}


def _names(case: Case) -> Mapping[str, object]:
    return {"title": case.title, "language": case.language}


def _extractor(bench: Workbench) -> Mapping[str, object]:
    """Name all that decides what is found. An extractor that cannot work here stops nothing but its own stage."""
    try:
        extractor = bench.extractor
    except CallPipelineError as error:
        return {"extractor": bench.settings.extractor, "problem": str(error)}
    return {
        "extractor": extractor.name,
        "version": extractor.version,
        "ontology": extractor.ontology,
        "similarity": bench.settings.graph_similarity if extractor.remote else None,
        "min_confidence": bench.settings.graph_min_confidence,
    }


def _bought_anew(bench: Workbench) -> bool:
    return bench.force_paid and bench.settings.extractor in REMOTE


GRAPH_STAGES: tuple[Stage, ...] = (
    Stage(
        "text_chunks", ("transcripts", "speaker_turns"), TextChunks, "1", _text_chunks,
        parameters=_rules, facts=_names, applies=_says_something,
    ),
    # The transcript tells whether there is anything to look into: without text there are no chunks to wait for.
    Stage(
        "kg_extractions", ("transcripts", "text_chunks"), KgExtraction, "1", _kg_extractions,
        parameters=_extractor, anew=_bought_anew, applies=_says_something, lacks=_missing,
    ),
)  # fmt: skip
