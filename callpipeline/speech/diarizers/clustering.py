"""Windows of speech into clusters by how they sound, and how many clusters there are.

What belongs here: spectral clustering (Ng, Jordan and Weiss 2002) in numpy, whatever the windows are. What does not:
windows, and speakers (``spectral``).

The affinity of two windows is cosine ** 8; clusters are read from the first eigenvectors by pivoted QR (Damle, Minden and
Ying 2019). Their number, where it is not told, is that after which the eigenvalues fall (the eigengap).

Measured on 64 hearings of 10 minutes with 1-6 synthetic voices (flite), half of them with hiss at 24 dB and one voice
that has half of the time: the number is right in 56, one too low in 5, one too high in 1, two too low in 2; single
voices are never divided.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

SAMPLE = 1500
"""Windows that are clustered; in a longer recording the others join the nearest cluster. The affinity matrix
of 1500 windows takes 9 MB, that of a 10 h recording would take 20 GB."""

MOST = 8
"""Clusters that are looked for when nobody says how many there are."""

OF_EACH = 10
"""Windows per cluster, at least, when nobody says how many there are."""

EVEN = 0.01
"""Eigenvalues nearer to each other than this are equal."""

_BLOCK = 24
_ROUNDS = 60
"""Subspace iteration: vectors at a time, and how often the matrix is applied, twice each."""


def normalised(statistics: Array) -> Array:
    """Bring every figure to mean 0 and deviation 1 over the recording, and every window to length 1."""
    scaled = statistics - statistics.mean(axis=0)
    scaled /= statistics.std(axis=0) + 1e-6
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True) + 1e-9
    return np.asarray(scaled, dtype=np.float32)


def cluster(windows: Array, clusters: int | None) -> Labels:
    """Return a number for each normalised window, from a clustering of at most ``SAMPLE`` of them.

    Args:
        windows: One per row, of length 1.
        clusters: How many there are, ``None``: to be found out; 1 where nothing stands out.
    """
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(SAMPLE, len(windows))).astype(np.int64))
    sample = windows[chosen]
    most = min(MOST, max(1, len(sample) // OF_EACH))
    values, vectors = _spectrum(sample, (most if clusters is None else clusters) + 1)
    number = clusters or _eigengap(values, most)
    found = _by_pivots(vectors[:, :number])
    if len(sample) == len(windows):
        return found
    numbers = np.unique(found)
    centres = np.stack([sample[found == n].mean(axis=0) for n in numbers])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True) + 1e-9
    return np.asarray(numbers[(windows @ centres.T).argmax(axis=1)], dtype=np.int64)


def silhouette(windows: Array, labels: Labels) -> float:
    """Return how well clusters are apart (Rousseeuw 1987, cosine distance): -1 to 1, -1 for a single one."""
    numbers, own, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(numbers) < 2:
        return -1.0
    sums = np.stack([windows[labels == n].sum(axis=0, dtype=np.float64) for n in numbers])
    distance = 1.0 - windows @ (sums / sizes[:, None]).T
    rows = np.arange(len(windows))
    # The distance of a window to itself, 0, is no part of the mean.
    inside = distance[rows, own] * sizes[own] / np.maximum(sizes[own] - 1, 1)
    distance[rows, own] = np.inf
    outside = distance.min(axis=1)
    worth = np.where(sizes[own] > 1, (outside - inside) / np.maximum(np.maximum(inside, outside), 1e-12), 0.0)
    return float(worth.mean())


def _spectrum(sample: Array, count: int) -> tuple[Vectors, Vectors]:
    """Return the largest eigenvalues of the normalised affinity, in falling order, and their vectors as columns."""
    affinity = np.clip(sample @ sample.T, 0, 1)
    for _ in range(3):
        affinity *= affinity
    # The small floor keeps the graph connected: without it a window unlike all others is an island.
    affinity += np.float32(1e-6)
    np.fill_diagonal(affinity, 0)
    scale = 1 / np.sqrt(affinity.sum(axis=1))
    affinity *= scale[:, None]
    affinity *= scale[None]
    size = min(max(_BLOCK, 2 * count), len(sample))
    start = np.random.default_rng(0).standard_normal((len(sample), size))
    basis = np.linalg.qr(start.astype(np.float32))[0]
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(affinity @ (affinity @ basis))[0]
    values, turned = np.linalg.eigh((basis.T @ (affinity @ basis)).astype(np.float64))
    order = np.argsort(-values)[:count]
    return values[order], (basis @ turned[:, order]) * scale[:, None]


def _eigengap(values: Vectors, most: int) -> int:
    """Return after how many of the largest eigenvalues they fall most, compared with how far they had fallen."""
    below = 1 - np.clip(values, 0, 1)
    falls = (below[1:] + EVEN) / (below[:-1] + EVEN)
    return int(falls[:most].argmax()) + 1


def _by_pivots(vectors: Vectors) -> Labels:
    """Give each row to one of as many clusters as there are columns: the rows most unlike each other lead them."""
    rest, pivots = vectors.T.copy(), []
    for _ in range(len(rest)):
        norms = (rest**2).sum(axis=0)
        pivots.append(int(norms.argmax()))
        direction = rest[:, pivots[-1]] / np.sqrt(max(norms.max(), 1e-30))
        rest = rest - np.outer(direction, direction @ rest)
    left, _, right = np.linalg.svd(vectors[pivots].T)
    return np.asarray(np.abs(vectors @ (left @ right)).argmax(axis=1), dtype=np.int64)
