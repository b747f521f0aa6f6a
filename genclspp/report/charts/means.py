"""The mean gain over several pairs of cells that were tested on the same examples."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from genclspp.report import statistics
from genclspp.report.figures import fixed
from genclspp.report.resampling import Scores
from genclspp.report.series import Series
from genclspp.report.statistics import ALPHA, Gain

if TYPE_CHECKING:
    from genclspp.report.results import Results


DIGITS = 12  # of a mean of shares, beyond which rounding has left its residue


def answer(gain: Gain, p: float) -> str:
    """Whether a gain helps: only where it is beyond noise, and more than the 0.0 points that a page shows."""
    if p > ALPHA or signed(gain.mean) == "+0.0":
        return "no difference was found"
    return "yes" if gain.mean > 0 else "it harms"


def signed(share: float) -> str:
    """A gain in points, "+1.2", whose zero has no minus."""
    return fixed(100 * share, 1, "+")


def mean_gain(results: "Results", pairs: Sequence[tuple[Series, Series]]) -> Gain | None:
    """The mean gain in accuracy of the first of each pair over the second one, by the crossed test.

    Every seed and every resample has its mean over pairs, so that what they share is paired. None where
    predictions are missing, and where cells differ in test examples or in the number of seeds.
    """
    every = [each for pair in pairs for each in pair]
    if not all(results.on_same_examples(every[0], each) for each in every):
        return None
    ours, theirs = zip(*pairs, strict=True)
    a, b = (_mean([results.scores(each) for each in side]) for side in (ours, theirs))
    if a is None or b is None or len(a.seeds) != len(b.seeds):
        return None
    return statistics.gain(a, b, paired_seeds=_are_paired(ours, theirs))


def _mean(found: Sequence[Scores | None]) -> Scores | None:
    known = [scores for scores in found if scores is not None]
    if len(known) < len(found) or len({len(scores.seeds) for scores in known}) > 1:
        return None
    seeds, draws = (np.mean([getattr(scores, name) for scores in known], axis=0) for name in ("seeds", "draws"))
    # Sums in another order leave residues, which would make a difference of equal cells.
    return replace(known[0], seeds=seeds.round(DIGITS), draws=draws.round(DIGITS), each=None)


def _are_paired(ours: Sequence[Series], theirs: Sequence[Series]) -> bool:
    """Whether both sides have, in each seed, the same policies, or the same SFT policies before RL."""

    def made(side: Sequence[Series], stage: str) -> set[tuple[int, object]]:
        return {(record["seed"], record.get(stage)) for each in side for record in each.records}

    found = [(made(ours, stage), made(theirs, stage)) for stage in ("policy", "artifact/sft")]
    return any(a == b and all(key for _, key in a) for a, b in found)
