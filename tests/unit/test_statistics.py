"""Gains and levels with their intervals: properties, formulas, published examples, and a small simulation."""

import math
import subprocess
import sys
from dataclasses import astuple, replace
from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from genclspp.report.resampling import DRAWS, Scores, macro_f1, means, weights
from genclspp.report.statistics import (
    FEW,
    Gain,
    average,
    benjamini_hochberg,
    gain,
    holm,
    level,
    mcnemar,
    relative_gain,
    smallest_detectable,
    wilson,
)
from genclspp.suggest import UserError

few_lengths = st.sampled_from([6, 11, 40, 90])  # few of them, because the weights of each are drawn once
generators = st.integers(0, 10**6).map(np.random.default_rng)
few = settings(max_examples=40, deadline=None)  # the first of a length draws its weights
two_cells = st.tuples(st.integers(1, 4), st.integers(1, 4), few_lengths, generators, st.booleans())


def draw_cells(case: tuple[int, int, int, np.random.Generator, bool]) -> tuple[np.ndarray, np.ndarray]:
    """Two cells that share the ease of examples, right or wrong, or with scores of any size."""
    ours, theirs, examples, draw, is_share = case
    ease = draw.normal(1, 1, size=examples)
    a, b = (ease + draw.normal(0, 0.3, (k, 1)) + draw.normal(0, 0.6, (k, examples)) for k in (ours, theirs))
    return ((a > 0) * 1.0, (b > 0) * 1.0) if is_share else (a, b)


def right_or_wrong(seeds: int, examples: int, seed: int = 0, share: float = 0.8) -> np.ndarray:
    return (np.random.default_rng(seed).random((seeds, examples)) < share) * 1.0


@few
@given(two_cells)
def test_exchanging_the_cells_exchanges_the_sign(case):
    a, b = draw_cells(case)
    there, back = gain(a, b), gain(b, a)
    assert there.mean == pytest.approx(-back.mean, abs=1e-12)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert there.p == pytest.approx(back.p, abs=1e-9)
    assert there.detectable == pytest.approx(back.detectable, abs=1e-9)


@few
@given(two_cells)
def test_the_interval_holds_the_mean_and_stays_in_its_range(case):
    a, b = draw_cells(case)
    for found in (gain(a, b), level(a), relative_gain(np.abs(a) + 0.1, np.abs(b) + 0.1)):
        assert found.low <= found.mean <= found.high
    told = gain(a, b)
    assert 0 <= told.p <= 1
    assert told.detectable >= 0
    if case[-1]:
        assert -1 <= told.low <= told.high <= 1
        assert 0 <= level(a).low <= level(a).high <= 1
    if len(a) > 1 or len(b) > 1:
        assert told.freedom >= min(k for k in (len(a), len(b)) if k > 1) - 1


@few
@given(two_cells)
def test_the_order_of_seeds_does_not_matter(case):
    a, b = draw_cells(case)
    draw = case[3]
    moved = gain(draw.permutation(a), draw.permutation(b))
    assert astuple(moved)[:-1] == pytest.approx(astuple(gain(a, b))[:-1], rel=1e-6, abs=1e-9)


@few
@given(two_cells)
def test_the_order_of_examples_matters_to_the_bootstrap_alone(case):
    a, b = draw_cells(case)
    order = case[3].permutation(a.shape[1])
    here, there = means(a), means(b)
    # The same examples with their own weights are the same cells …
    moved = [
        Scores(s.seeds, s.each[:, order] @ weights(len(order)).T[order] / len(order), *astuple(s)[2:])
        for s in (here, there)
    ]
    assert gain(*moved).error == pytest.approx(gain(a, b).error, abs=1e-9)
    # … and with weights drawn anew, they differ by the noise of 2,000 draws.
    assert gain(a[:, order], b[:, order]).mean == pytest.approx(gain(a, b).mean, abs=1e-12)
    assert gain(a[:, order], b[:, order]).error == pytest.approx(gain(a, b).error, rel=0.15, abs=1e-6)


@few
@given(few_lengths, generators, st.booleans())
def test_copies_of_the_examples_narrow_the_interval(examples: int, draw: np.random.Generator, is_share: bool):
    # Nothing random but the examples: nine times as many of them leave a third of the error.
    a, b = (cell.repeat(3, axis=0) for cell in draw_cells((1, 1, examples, draw, is_share)))
    assert gain(np.tile(a, 9), np.tile(b, 9)).error == pytest.approx(gain(a, b).error / 3, rel=0.15, abs=1e-9)


def test_copies_of_the_examples_leave_the_noise_of_the_seeds():
    shift = np.array([[-0.5], [0.1], [0.6]])  # far larger than what the examples of one seed add
    a, b = (cell + shift for cell in draw_cells((3, 3, 90, np.random.default_rng(11), False)))
    seeds = sum(cell.mean(axis=1).var(ddof=1) / 3 for cell in (a, b))
    assert gain(np.tile(a, 9), np.tile(b, 9)).error == pytest.approx(math.sqrt(seeds), rel=0.05)


@few
@given(two_cells, st.floats(0.1, 10), st.floats(-3, 3))
def test_the_unit_of_scores_does_not_matter(case, scale: float, shift: float):
    a, b = draw_cells((*case[:-1], False))
    once, scaled = gain(a, b), gain(a * scale + shift, b * scale + shift)
    assert scaled.p == pytest.approx(once.p, abs=1e-6)
    assert (scaled.mean, scaled.error) == pytest.approx((once.mean * scale, once.error * scale), abs=1e-6)
    a, b = np.abs(a) + 0.1, np.abs(b) + 0.1
    assert astuple(relative_gain(a * scale, b * scale)) == pytest.approx(astuple(relative_gain(a, b)), abs=1e-6)


@few
@given(st.integers(2, 4), few_lengths, generators)
def test_paired_seeds_that_are_equal_differ_by_nothing(seeds: int, examples: int, draw: np.random.Generator):
    cell = (draw.random((seeds, examples)) < 0.7) * 1.0
    told = gain(cell, cell, paired_seeds=True)
    assert (told.mean, told.low, told.high, told.p, told.error) == (0, 0, 0, 1, 0)


def test_what_a_pair_of_seeds_shares_is_no_noise_of_the_gain():
    draw = np.random.default_rng(0)
    shared = draw.normal(0, 1, size=(4, 1))
    a, b = (shared + draw.normal(size=(4, 300)) for _ in range(2))
    assert gain(a, b, paired_seeds=True).error < gain(a, b).error / 3


@pytest.mark.parametrize(("ours", "theirs"), [(3, 3), (5, 3), (2, 4)])
@pytest.mark.parametrize("is_share", [True, False])
def test_the_error_is_the_one_of_the_formulas_pair_by_pair(ours: int, theirs: int, is_share: bool):
    """Equal to STATISTICS' words: I over different seeds, P, S, and the largest."""
    a, b = draw_cells((ours, theirs, 90, np.random.default_rng(1), is_share))
    draws_a, draws_b = (cell @ weights(90).T / 90 for cell in (a, b))
    covariances = [
        np.cov(draws_a[i] - draws_b[j], draws_a[m] - draws_b[n])[0, 1]
        for i, j, m, n in product(range(ours), range(theirs), range(ours), range(theirs))
        if i != m and j != n
    ]
    examples = np.mean(covariances)
    seeds = [cell.mean(axis=1).var(ddof=1) / len(cell) for cell in (a, b)]
    plain = (draws_a.mean(axis=0) - draws_b.mean(axis=0)).var(ddof=1)
    told = gain(a, b)
    assert told.error**2 == pytest.approx(max(plain, examples + sum(seeds)))
    spread = seeds[0] ** 2 / (ours - 1) + seeds[1] ** 2 / (theirs - 1) + max(examples, 0) ** 2 / 89
    assert told.freedom == pytest.approx(max(told.error**4 / spread, min(ours, theirs) - 1))
    half = scipy.stats.t(told.freedom).ppf(0.975) * told.error
    if not is_share:
        assert (told.low, told.high) == pytest.approx((told.mean - half, told.mean + half))
        assert told.p == pytest.approx(2 * scipy.stats.t(told.freedom).sf(abs(told.mean) / told.error))


def test_without_noise_of_examples_the_test_is_the_one_of_welch_or_student():
    draw = np.random.default_rng(2)
    a, b = draw.normal(0.4, 1, size=4), draw.normal(0, 3, size=6)
    rows = [np.repeat(cell[:, None], 50, axis=1) for cell in (a, b)]
    assert gain(*rows).p == pytest.approx(scipy.stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-6)
    pairs = gain(rows[0], rows[1][:4], paired_seeds=True)
    assert pairs.p == pytest.approx(scipy.stats.ttest_rel(a, b[:4]).pvalue, rel=1e-6)
    alone = level(rows[0])
    assert (alone.low, alone.high) == pytest.approx(scipy.stats.ttest_1samp(a, 0).confidence_interval())
    assert alone.sd == pytest.approx(a.std(ddof=1))


def test_without_noise_of_seeds_the_test_is_the_one_of_student_over_examples():
    draw = np.random.default_rng(3)
    a, b = draw.normal(0.1, 1, size=(1, 400)), draw.normal(size=(1, 400))
    told = gain(a.repeat(3, axis=0), b.repeat(3, axis=0))
    expected = scipy.stats.ttest_rel(a[0], b[0])
    assert told.freedom == pytest.approx(expected.df)
    assert (told.low, told.high) == pytest.approx(expected.confidence_interval(), abs=0.01)  # of 2,000 draws


def test_one_seed_on_one_side_takes_the_seed_variance_of_the_other():
    a, b = draw_cells((3, 3, 90, np.random.default_rng(4), True))
    told = gain(a, b[:1])
    assert told.method == "crossed, with lent seed variance"
    assert told.error > gain(a, b).error
    assert told.error**2 >= a.mean(axis=1).var(ddof=1) * (1 + 1 / 3)
    fixed = gain(a, b[:1].repeat(3, axis=0))  # nothing random in b
    assert fixed.method == "crossed"
    assert fixed.error < told.error


def test_one_seed_each_is_about_two_checkpoints():
    a, b = right_or_wrong(1, 300, 1), right_or_wrong(1, 300, 2, 0.7)
    told = gain(a, b)
    assert told.method == "paired bootstrap, McNemar's exact test"
    rows = np.random.default_rng(5).integers(300, size=(4000, 300))
    drawn = np.percentile((a - b)[0][rows].mean(axis=1), [2.5, 97.5])
    assert (told.low, told.high) == pytest.approx(drawn.tolist(), abs=0.01)
    table = [[((a == x) & (b == y)).sum() for y in (1, 0)] for x in (1, 0)]
    assert told.p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
    assert told.detectable == pytest.approx(2.8016 * math.sqrt((a != b).mean() / 300), rel=1e-4)
    assert gain(a * 0.5, b * 0.5).method == "paired bootstrap"
    assert gain(a * 0.5, b * 0.5).p == pytest.approx(told.p, abs=0.02)


def test_mcnemar_agrees_with_a_published_example():
    # Fagerland, Lydersen, Laake 2013, table 1: 1 against 7 of 21 children change; exact conditional p = 0.070.
    before = np.array([1] * 2 + [0] * 19)
    after = np.array([1, 0] + [1] * 7 + [0] * 12)
    assert mcnemar(before, after) == pytest.approx(0.0703, abs=5e-5)


@few
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_statsmodels(counts: tuple[int, int]):
    assert wilson(*counts) == pytest.approx(proportion_confint(*counts, method="wilson"), abs=1e-9)


def test_wilson_agrees_with_a_published_example():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I


def test_a_level_of_one_seed_is_wilson_or_the_percentiles():
    cell = right_or_wrong(1, 200)
    assert level(cell).method == "Wilson"
    assert (level(cell).low, level(cell).high) == wilson(int(cell.sum()), 200)
    assert level(cell).sd is None
    assert level(cell * 0.5).method == "percentile bootstrap"
    assert (level(cell * 2).low / 2, level(cell * 2).high / 2) == pytest.approx(
        wilson(int(cell.sum()), 200), abs=0.02
    )


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_all_right_is_no_certainty(right: float):
    told = level(np.full((3, 50), right))
    assert (told.low, told.high) == wilson(int(50 * right), 50)


# Benjamini and Hochberg 1995, section 4: the false discovery rate finds four, family-wise control three.
PUBLISHED = [
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459),
    *(0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
]


def test_corrections_agree_with_a_published_example():
    assert (benjamini_hochberg(PUBLISHED) <= 0.05).sum() == 4
    assert (holm(PUBLISHED) <= 0.05).sum() == 3


@settings(max_examples=8, deadline=None)  # statsmodels collects garbage for each Holm correction
@given(st.lists(st.floats(0, 1), max_size=9))
def test_corrections_agree_with_their_definitions(p: list[float]):
    order, total = np.argsort(p, kind="stable"), len(p)
    steps = np.maximum.accumulate([min(1, (total - place) * p[i]) for place, i in enumerate(order)] or [0.0])
    assert holm(p)[order] == pytest.approx(steps[:total])
    if p:
        assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_what_is_no_p_value_is_not_corrected():
    assert len(holm([])) == len(benjamini_hochberg([])) == 0
    for wrong in ([0.1, math.nan], [1.2]):
        for correct in (holm, benjamini_hochberg):
            with pytest.raises(ValueError, match="between 0 and 1"):
                correct(wrong)


@pytest.mark.parametrize(("examples", "points"), [(500, 4.0), (1000, 2.8)])
def test_the_detectable_gain_at_ten_percent_discordance(examples: int, points: float):
    assert 100 * smallest_detectable(math.sqrt(0.1 / examples)) == pytest.approx(points, abs=0.05)
    b = np.ones((1, examples))
    a = b.copy()
    a[0, ::10] = 0
    assert 100 * gain(a, b).detectable == pytest.approx(points, abs=0.05)


def test_a_detectable_gain_is_found_in_four_of_five_comparisons():
    error, freedom = 0.02, 200.0
    shift = smallest_detectable(error, freedom) / error
    power = scipy.stats.nct(freedom, shift).sf(scipy.stats.t(freedom).ppf(0.975))
    assert power == pytest.approx(0.8, abs=0.01)


def test_the_relative_gain_over_a_fixed_level_is_the_gain_over_it():
    a, b = draw_cells((3, 3, 90, np.random.default_rng(6), False))[0] + 5, np.full((3, 90), 0.5)
    told, relative = gain(a, b), relative_gain(a, b)
    assert astuple(relative) == pytest.approx((told.mean / 0.5, told.low / 0.5, told.high / 0.5))


def test_a_relative_gain_needs_a_level_above_zero():
    cell = right_or_wrong(2, 40)
    assert math.isnan(relative_gain(cell, np.zeros((2, 40))).mean)
    rare = np.zeros((2, 40))
    rare[:, 0] = 1
    told = relative_gain(cell, rare)
    assert (told.low, told.high) == (-math.inf, math.inf)
    assert told.mean == pytest.approx(cell.mean() / rare.mean() - 1)


def test_f1_is_the_one_of_scikit_learn_under_every_weight():
    draw = np.random.default_rng(7)
    gold = draw.integers(5, size=60)
    predicted = np.where(draw.random((3, 60)) < 0.6, gold, draw.integers(-1, 5, size=(3, 60)))
    found = macro_f1(gold, predicted, 6)  # the last label is in neither
    for seed, place in product(range(3), (0, 7, DRAWS - 1)):
        arguments = {"labels": range(6), "average": "macro", "zero_division": 0}
        expected = f1_score(gold, predicted[seed], sample_weight=weights(60)[place], **arguments)
        assert found.draws[seed, place] == pytest.approx(expected)
        assert found.seeds[seed] == pytest.approx(f1_score(gold, predicted[seed], **arguments))
    order = draw.permutation(60)
    assert macro_f1(gold[order], predicted[:, order], 6).seeds == pytest.approx(found.seeds)


def test_f1_has_intervals_like_the_accuracy():
    draw = np.random.default_rng(8)
    gold = draw.integers(4, size=300)
    cells = [
        np.where(draw.random((3, 300)) < share, gold, draw.integers(4, size=(3, 300))) for share in (0.9, 0.5)
    ]
    ours, theirs = (macro_f1(gold, cell, 4) for cell in cells)
    accuracy, told = gain(*(cell == gold for cell in cells)), gain(ours, theirs)
    # With balanced labels and uniform mistakes both measure much the same.
    assert (told.mean, told.low, told.high) == pytest.approx(
        (accuracy.mean, accuracy.low, accuracy.high), abs=0.02
    )
    assert told.method == "crossed"
    assert gain(macro_f1(gold, cells[0][:1], 4), macro_f1(gold, cells[1][:1], 4)).method == "paired bootstrap"
    assert level(macro_f1(gold, cells[0][:1], 4)).method == "percentile bootstrap"
    assert gain(ours, ours, paired_seeds=True).p == 1


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("examples", range(1, FEW))
def test_too_few_examples_say_nothing(seeds: int, examples: int):
    a, b = np.ones((seeds, examples)), np.zeros((seeds, examples))
    told = gain(a, b)
    assert (told.mean, told.low, told.high, told.detectable) == (1, -1, 1, math.inf)
    assert told.p > 0.05
    assert (relative_gain(a, a).low, relative_gain(a, a).high) == (-math.inf, math.inf)
    assert average([told, replace(told, error=0.1)]).p == 1


def test_no_test_is_surer_than_all_examples_agreeing():
    told = gain(np.ones((3, 7)), np.zeros((3, 7)))
    assert told.p == 2 / 2**7
    assert (told.low, told.high) == (1, 1)


def test_bad_scores_are_named():
    cell = right_or_wrong(2, 40)
    broken = cell.copy()
    broken[1, 7] = math.nan
    with pytest.raises(UserError, match="example 7 in seed 1 is nan"):
        gain(cell, broken)
    with pytest.raises(UserError, match="40 and 30 examples"):
        gain(cell, cell[:, :30])
    with pytest.raises(UserError, match="2 and 1 seeds are no pairs"):
        gain(cell, cell[:1], paired_seeds=True)
    for wrong in (cell[0], cell[:, :0], cell[:0]):
        with pytest.raises(UserError, match=r"expected \(seeds, examples\)"):
            level(wrong)
    with pytest.raises(UserError, match="gold labels"):
        macro_f1(np.zeros(5, dtype=int), np.zeros((2, 6), dtype=int), 2)


def test_weights_draw_examples_with_replacement_and_are_the_same_every_time():
    table = weights(90)
    assert table.shape == (DRAWS, 90)
    assert (table.sum(axis=1) == 90).all()
    assert table.var() == pytest.approx(1 - 1 / 90, abs=0.02)
    again = weights.__wrapped__(90)
    assert (again == table).all()
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 1


def some_gain(mean: float, error: float = 0.01) -> Gain:
    p = 2 * scipy.stats.norm.sf(abs(mean) / error)
    return Gain(mean, mean - 2 * error, mean + 2 * error, p, 2.8 * error, error, math.inf, "crossed")


def test_an_average_of_one_is_itself_and_more_data_sets_narrow_it():
    a, b = draw_cells((3, 3, 90, np.random.default_rng(9), False))
    one = gain(a, b)
    alone, four = average([one]), average([one] * 4)
    assert (alone.mean, alone.low, alone.high, alone.p) == pytest.approx((one.mean, one.low, one.high, one.p))
    assert four.detectable < alone.detectable / 2 + 1e-12
    many = average([some_gain(0.02, 0.01), some_gain(0.04, 0.03)])
    assert (many.mean, many.detectable) == pytest.approx((0.03, 2.8016 * math.hypot(0.01, 0.03) / 2), rel=1e-4)
    assert (
        average([some_gain(0.05), some_gain(0.021), some_gain(0.0)]).significant == 1
    )  # 0.036 alone, 0.07 by Holm


def test_signed_ranks_agree_with_a_published_example():
    # Demšar 2006, table 2: C4.5 with and without a tuned m on 14 data sets; T = 12, and two differences are 0.
    points = [5, -8, 17, 33, 6, -5, 7, 0, 63, 0, 22, 47, 9, 21]
    z = (12 - 14 * 15 / 4) / math.sqrt(14 * 15 * 29 / 24)
    told = average([some_gain(point / 1000) for point in points])
    assert told.wilcoxon == pytest.approx(2 * scipy.stats.norm.cdf(z), abs=0.002)
    assert average([some_gain(0.1)] * 5).wilcoxon is None
    assert average([some_gain(0.1 + i / 100) for i in range(6)]).wilcoxon == pytest.approx(2 / 2**6)
    assert average([some_gain(0.0)] * 6).wilcoxon == 1


def test_intervals_cover_the_truth_where_seeds_differ_much():
    draw = np.random.default_rng(10)
    covered, by_examples = 0, 0
    for _ in range(150):
        ease = draw.normal(1, 0.8, size=200)
        a, b = (ease + draw.normal(0, 0.4, (3, 1)) + draw.normal(0, 0.6, (3, 200)) > 0 for _ in range(2))
        told = gain(a, b)
        covered += told.low <= 0 <= told.high
        low, high = np.percentile(weights(200) @ (a.mean(axis=0) - b.mean(axis=0)) / 200, [2.5, 97.5])
        by_examples += bool(low <= 0 <= high)
    assert covered >= 0.92 * 150
    assert by_examples <= 0.75 * 150  # the check can fail: resampling examples alone takes seeds for signal


def test_importing_loads_neither_scipy_nor_statsmodels():
    code = "import sys, genclspp.report.statistics; print({'scipy', 'statsmodels'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
