"""Which model a text chunk goes to: rich ones to the strong model, simple ones to the small one.

Decided by the words alone, so that the same words always go to the same model and their answer is found in the cache.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from callpipeline.settings import Settings

POOL = "openai_chat"
SMALL_POOL = "openai_chat_small"

RICH_FROM = 45
"""Different words of five letters and more from which on a text counts as rich. In about 2,000 characters of a talk or
a hearing there are 90 to 140; small talk, directions and forms of a call stay below this."""

_WORD = re.compile(r"[^\W\d_]{5,}")


@dataclass(frozen=True, slots=True)
class Route:
    """A model and the pool of its limits."""

    model: str
    pool: str


class Routing:
    """The routes of one set of settings. With one model for both there is one route."""

    def __init__(self, settings: Settings) -> None:
        self.strong = Route(settings.graph_model, POOL)
        one = settings.graph_small_model == settings.graph_model
        self.small = self.strong if one else Route(settings.graph_small_model, SMALL_POOL)

    @property
    def routes(self) -> tuple[Route, ...]:
        """All of them."""
        return tuple(dict.fromkeys((self.strong, self.small)))

    def of(self, text: str) -> Route:
        """Return where a text goes."""
        return self.strong if is_rich(text) else self.small


def is_rich(text: str) -> bool:
    """Tell whether a text has enough in it to need the strong model."""
    return len({word.lower() for word in _WORD.findall(text)}) >= RICH_FROM
