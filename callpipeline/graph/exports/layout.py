"""Where the nodes of a picture stand: worked out once here, so that the page opens at once however large it is.

Nodes repel each other and edges pull, as in every force-directed layout. The strongest nodes are placed first, among
themselves, and those of each further tier between them: a page that shows only the strongest finds these well spread.
The same graph always gives the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Points: TypeAlias = "NDArray[np.float64]"
    Edges: TypeAlias = "NDArray[np.int64]"

Point: TypeAlias = tuple[float, float]

_FIRST_TIER, _GROWTH = 120, 3
_STEPS_FIRST, _STEPS = 220, 80
_REACH = 4.0
"""Nodes nearer than this repel each other one by one, others by crowds; 1 is the usual distance of two nodes."""
_CELLS = 12
_PUSH, _GRAVITY = 0.35, 0.02
_GOLDEN = pi * (3 - sqrt(5))


def positions(count: int, edges: Sequence[tuple[int, int]]) -> list[Point]:
    """Return a place for each of ``count`` nodes, the strongest first, in a circle of radius of about 1."""
    import numpy as np

    if not count:
        return []
    links = np.array([(a, b) for a, b in edges if a != b], dtype=np.int64).reshape(-1, 2)
    points = _spiral(0, min(count, _FIRST_TIER))
    points = _relaxed(points, _among(links, len(points)), _STEPS_FIRST)
    while len(points) < count:
        size = min(count, len(points) * _GROWTH)
        points *= sqrt(size / len(points))
        points = np.concatenate([points, _between(points, links, size)])
        points = _relaxed(points, _among(links, size), _STEPS)
    points -= points.mean(axis=0)
    radius = float(np.quantile(np.hypot(points[:, 0], points[:, 1]), 0.98)) or 1.0
    return [(round(float(x), 4), round(float(y), 4)) for x, y in points / radius]


def _spiral(first: int, size: int) -> Points:
    import numpy as np

    at = np.arange(first, size)
    radius, angle = 0.6 * np.sqrt(at + 0.5), at * _GOLDEN
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _among(links: Edges, size: int) -> Edges:
    return links[(links < size).all(axis=1)]


def _between(points: Points, links: Edges, size: int) -> Points:
    """Return a first place for the nodes after ``points``: amid the neighbours that have one, else further out."""
    import numpy as np

    placed = len(points)
    made = _spiral(placed, size)
    ends = np.concatenate([links, links[:, ::-1]])
    ends = ends[(ends[:, 0] >= placed) & (ends[:, 0] < size) & (ends[:, 1] < placed)]
    new = ends[:, 0] - placed
    weight = np.bincount(new, minlength=size - placed)
    known = weight > 0
    for axis in (0, 1):
        total = np.bincount(new, weights=points[ends[:, 1], axis], minlength=size - placed)
        apart = 0.02 * made[:, axis]  # two nodes with the same neighbours must not stand on one spot
        made[known, axis] = total[known] / weight[known] + apart[known]
    return made


def _relaxed(points: Points, links: Edges, steps: int) -> Points:
    import numpy as np

    degree = np.maximum(np.bincount(links.ravel(), minlength=len(points)), 1)
    for step in range(steps):
        warmth = 1.0 - step / steps
        force = _near(points) + _far(points) - _GRAVITY * points
        force += _pull(points, links, degree)
        length = np.hypot(force[:, 0], force[:, 1])[:, None]
        points = points + force / np.maximum(length, 1e-9) * np.minimum(length, 0.1 + warmth)
    return points


def _near(points: Points) -> Points:
    import numpy as np
    from scipy.spatial import cKDTree  # comes with scikit-learn

    pairs = cKDTree(points).query_pairs(_REACH, output_type="ndarray")
    delta = points[pairs[:, 0]] - points[pairs[:, 1]]
    push = delta * (_PUSH / (np.square(delta).sum(axis=1) + 0.05))[:, None]
    return _summed(pairs[:, 0], push, len(points)) - _summed(pairs[:, 1], push, len(points))


def _far(points: Points) -> Points:
    """Return the push of crowds: those in a cell of a coarse grid push together, from their middle."""
    import numpy as np

    low, high = points.min(axis=0), points.max(axis=0)
    cell = ((points - low) / (high - low + 1e-9) * _CELLS).astype(np.int64).clip(0, _CELLS - 1)
    number = cell[:, 0] * _CELLS + cell[:, 1]
    mass = np.bincount(number, minlength=_CELLS * _CELLS)
    used = mass > 0
    middle = _summed(number, points, _CELLS * _CELLS)[used] / mass[used, None]
    delta = [points[:, axis, None] - middle[None, :, axis] for axis in (0, 1)]
    distance = delta[0] ** 2 + delta[1] ** 2
    push = _PUSH * mass[used] / (distance + _REACH**2) * (distance > _REACH**2)
    return np.stack([np.einsum("ij,ij->i", along, push) for along in delta], axis=1)


def _pull(points: Points, links: Edges, degree: Edges) -> Points:
    import numpy as np

    source, target = links[:, 0], links[:, 1]
    delta = points[target] - points[source]
    length = np.hypot(delta[:, 0], delta[:, 1])[:, None] + 1e-9
    weak = np.minimum(degree[source], degree[target])[:, None]
    force = delta * (length - 1.0) / length / weak
    share = (degree[source] / (degree[source] + degree[target]))[:, None]  # the lesser end moves more
    return _summed(source, force * (1 - share), len(points)) - _summed(target, force * share, len(points))


def _summed(index: Edges, vectors: Points, size: int) -> Points:
    import numpy as np

    return np.stack([np.bincount(index, weights=vectors[:, axis], minlength=size) for axis in (0, 1)], axis=1)
