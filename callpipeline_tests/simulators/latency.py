"""How long the simulated provider takes: a profile in words, and a seeded sampler of it.

Belongs here: seconds. Does not: sleeping.
"""

from __future__ import annotations

import random
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator


class Latency(BaseModel):
    """A latency profile; all times in seconds.

    ``none``; ``fixed:S``; ``lognormal:MEAN,SIGMA[,SEED]`` (MEAN of the seconds themselves, SIGMA of their
    logarithm); ``audio:FACTOR[,BASE]`` = FACTOR x seconds of audio + BASE; ``tokens:FACTOR[,BASE[,SIGMA[,SEED]]]``
    = FACTOR x output tokens + BASE, on average: SIGMA spreads it as ``lognormal`` does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["none", "fixed", "lognormal", "audio", "tokens"] = "none"
    seconds: float = 0.0
    """The fixed time, the mean, or the base."""
    sigma: float = 0.0
    factor: float = 0.0
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return cls._parsed(value) if isinstance(value, str) else value

    @staticmethod
    def _parsed(text: str) -> dict[str, object]:
        profile, _, rest = text.partition(":")
        numbers = [float(part) for part in rest.split(",") if part]
        fields = {
            "none": (),
            "fixed": ("seconds",),
            "lognormal": ("seconds", "sigma", "seed"),
            "audio": ("factor", "seconds"),
            "tokens": ("factor", "seconds", "sigma", "seed"),
        }.get(profile)
        if fields is None or len(numbers) > len(fields) or (fields and not numbers):
            raise ValueError(
                f"{text!r} is no latency: none, fixed:S, lognormal:MEAN,SIGMA[,SEED], audio:FACTOR[,BASE], "
                "tokens:FACTOR[,BASE[,SIGMA[,SEED]]]"
            )
        values = dict(zip(fields, numbers, strict=False))
        return {"profile": profile, **values}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a profile such as ``lognormal:3,0.5``.

        Raises:
            ValueError: it is none of the profiles.
        """
        return cls.model_validate(text)


class LatencySampler:
    """Draws times from a profile, one after the other; the same seed gives the same times."""

    def __init__(self, latency: Latency) -> None:
        self.latency = latency
        self._rng = random.Random(latency.seed)

    def draw(self, *, audio_seconds: float = 0.0, tokens: int = 0) -> float:
        """Return the next time in seconds."""
        profile = self.latency
        if profile.profile == "lognormal":
            return profile.seconds * self._spread()
        if profile.profile == "audio":
            return profile.seconds + profile.factor * audio_seconds
        if profile.profile == "tokens":
            return (profile.seconds + profile.factor * tokens) * self._spread()
        return profile.seconds

    def _spread(self) -> float:
        """Return a lognormal factor whose mean is 1."""
        sigma = self.latency.sigma
        return self._rng.lognormvariate(-(sigma**2) / 2, sigma) if sigma else 1.0
