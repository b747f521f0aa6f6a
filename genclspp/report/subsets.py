"""How well a cell does on subsets of its test examples, such as classes: many ratios with their intervals.

The interval is the crossed one of `statistics`, without draws: what a ratio R = part / whole varies with resampled
examples is, to first order, the sum over examples of their squared influence (part_i - R whole_i) / whole, the
infinitesimal jackknife (Efron 1982). So thousands of subsets cost no more than a few resampled metrics.
"""

from dataclasses import dataclass

import numpy as np

from genclspp.report.statistics import ALPHA, FEW


@dataclass(frozen=True)
class Ratios:
    """A ratio of counts on each of several subsets; all arrays are (subsets,).

    mean:      over the seeds that have examples there; NaN where none has
    low, high: its 95 % interval
    count:     examples in the subset, mean over all seeds
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray


def members(places: np.ndarray, subsets: int) -> np.ndarray:
    """(subsets, seeds, examples) whether an example is in it. places: (seeds, examples), negative for none"""
    return places == np.arange(subsets)[:, None, None]


def share(counted: np.ndarray, subsets: np.ndarray) -> Ratios:
    """What share of each subset counts.

    counted: (seeds, examples) whether an example counts
    subsets: (subsets, seeds, examples), see `members`

    With one seed it is Wilson's interval, as for the whole test set.
    """
    return _ratios(counted & subsets, subsets, subsets.sum(axis=-1).mean(axis=-1), is_share=True)


def f1(gold: np.ndarray, answered: np.ndarray) -> Ratios:
    """F1 of each class, 2 hits / (gold + answered); `count` is that of its gold labels.

    gold, answered: (classes, seeds, examples), see `members`
    """
    whole = gold.astype(np.int8) + answered
    found = _ratios(2 * (gold & answered), whole, gold.sum(axis=-1).mean(axis=-1), is_share=False)
    nan = np.where(found.count > 0, 0, np.nan)  # a class without examples has no F1
    return Ratios(found.mean + nan, found.low + nan, found.high + nan, found.count)


def _ratios(part: np.ndarray, whole: np.ndarray, count: np.ndarray, is_share: bool) -> Ratios:
    """part, whole: (subsets, seeds, examples); count: (subsets,) examples that the ratio is about"""
    total = whole.sum(axis=-1)
    there = total > 0
    seeds, size = np.maximum(there.sum(axis=-1), 1), np.maximum(total, 1)
    each = part.sum(axis=-1) / size
    mean = each.sum(axis=-1) / seeds
    influence = (part - each[..., None] * whole) / size[..., None]
    apart = np.einsum("gsi,gsi->g", influence, influence) / seeds
    sums = influence.sum(axis=1)
    together = np.einsum("gi,gi->g", sums, sums) / seeds**2
    shared = np.where(seeds > 1, together - (apart - together) / np.maximum(seeds - 1, 1), together)
    spread = ((each - mean[:, None]) ** 2 * there).sum(axis=-1) / np.maximum(seeds - 1, 1) / seeds
    half = np.where(count < FEW, 1, _half(together, shared, spread, seeds))
    low, high = np.maximum(mean - half, 0), np.minimum(mean + half, 1)
    # Where all or none count in all seeds, nothing varies, and that is no certainty.
    wilson = (mean <= 0) | (mean >= 1) | (is_share & (seeds == 1))
    below, above = _wilson(mean, count)
    nan = np.where(there.any(axis=-1), 0, np.nan)
    low, high = np.where(wilson, below, low), np.where(wilson, above, high)
    return Ratios(mean + nan, low + nan, high + nan, count)


def _half(together: np.ndarray, shared: np.ndarray, spread: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Half the width of the interval, from its parts P, I and S, see `statistics.level`; S is 0 for one seed."""
    from scipy.special import ndtri, stdtrit

    normal, student = ndtri(1 - ALPHA / 2) ** 2, stdtrit(np.maximum(seeds - 1, 1), 1 - ALPHA / 2) ** 2
    return np.sqrt(np.maximum(normal * together, normal * np.maximum(shared, 0) + student * spread))


def _wilson(mean: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval (1927) of the share `mean` of `count` examples."""
    from scipy.special import ndtri

    count, z = np.maximum(count, 1), ndtri(1 - ALPHA / 2)
    scale = 1 + z * z / count
    centre = (mean + z * z / (2 * count)) / scale
    half = z / scale * np.sqrt(mean * (1 - mean) / count + z * z / (4 * count * count))
    return np.clip(centre - half, 0, mean), np.clip(centre + half, mean, 1)


def quantiles(values: np.ndarray, parts: int) -> np.ndarray:
    """Which of `parts` equally large parts each value belongs to, the smallest first; equal values by their order.

    values: (…, examples), each row by itself
    """
    ranks = np.argsort(np.argsort(values, axis=-1, kind="stable"), axis=-1, kind="stable")
    return ranks * parts // values.shape[-1]
