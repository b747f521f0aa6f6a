"""p-values of several tests, corrected."""

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float]) -> np.ndarray:
    """p-values corrected for a family of tests, all of them: compare with 0.05 (Holm 1979; family-wise error)."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(_checked(p), method="holm")[1] if len(p) else np.array([])


def benjamini_hochberg(p: Sequence[float]) -> np.ndarray:
    """p-values corrected for exploration: compare with a share of false discoveries (Benjamini, Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    return false_discovery_control(_checked(p)) if len(p) else np.array([])


def _checked(p: Sequence[float]) -> np.ndarray:
    values = np.asarray(p, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values {values} to correct; expected numbers between 0 and 1")
    return values
