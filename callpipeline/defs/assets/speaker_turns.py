"""``speaker_turns``: the conversation, turn by turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callpipeline.defs.assets.base import AssetFace, View, no_checks
from callpipeline.model import Role, SpeakerTurns


def _metadata(view: View) -> Mapping[str, Any]:
    conversation = view.value(SpeakerTurns)
    return {
        "turns": len(conversation.turns),
        "agent_turns": sum(turn.role is Role.AGENT for turn in conversation.turns),
        "customer_turns": sum(turn.role is Role.CUSTOMER for turn in conversation.turns),
        "role_confidence": round(conversation.role_confidence, 2),
        "from": f"{conversation.transcript_engine} + {conversation.diarization_engine}",
        "file": str(view.stored.path),
    }


FACE = AssetFace(
    asset="speaker_turns",
    group="speech",
    kinds=frozenset({"text"}),
    description="Words joined with voices: the conversation in turns, each with its speaker, role and times.",
    metadata=_metadata,
    check_descriptions={},
    checks=no_checks,
)
