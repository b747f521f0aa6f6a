"""What each choice is worth: its gain over a baseline that is equal in all else."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from genclspp.report import statistics
from genclspp.report.chart import Chart
from genclspp.report.charts.figure import (
    BLUE,
    GREY,
    LONG_NAME,
    TALL_ROW,
    axis,
    bars,
    build,
    headed,
    number,
    numbers,
    plain,
)
from genclspp.report.charts.means import answer, mean_gain, signed
from genclspp.report.charts.names import SIDES, name, telling
from genclspp.report.figures import fixed
from genclspp.report.records import STRATEGY, are_sides_equal, chosen
from genclspp.report.series import Series
from genclspp.report.statistics import ALPHA, Gain

if TYPE_CHECKING:
    from genclspp.report.results import Results

# The baseline of a word, if there is such a cell; else the first choice.
BASELINES = {"train": "zero_shot", "infer": "zero_shot", STRATEGY: "zero_shot", "decode": "greedy"}
BASELINES |= {"layout": "turns", "reasoning": "none", "sft": "none", "precision": "float32", "reward": "correct"}
OTHERS = ("name", "dataset", "dataset.path", "weights", "rl")  # words that are no dimensions, and RL
MOST = 40  # comparisons that a figure shows
TOLD = 3  # means that a caption tells


@dataclass(frozen=True)
class Comparison:
    """A cell with a choice, and one with another choice that is equal in all else; or the mean of several such.

    where:     what else tells the cell apart, or of how many it is the mean
    corrected: p after Benjamini–Hochberg; None for a mean
    """

    choice: str
    baseline: str
    where: str
    gain: Gain
    corrected: float | None


class Compared(NamedTuple):
    """What `compare` found. `untested`: pairs without predictions on the same test examples."""

    found: list[Comparison]
    untested: int


def effects(results: "Results") -> list[Chart]:
    """A chart for each word in which cells differ, other than RL."""
    charts = []
    equal = [each for each in results.series if are_sides_equal([each.words])]
    for word in dict.fromkeys([STRATEGY, *telling(results.series)]):
        choices = _choices(equal if word == STRATEGY else results.series, word)
        if word in OTHERS or len(choices) < 2:
            continue
        wanted = BASELINES.get(word)
        compared = compare(results, word, wanted if wanted in choices else choices[0])
        if compared.found:
            id, title = f"effect-{word.replace('.', '-')}", f"What does the choice of {word} change?"
            charts.append(_chart(id, title, word, *compared))
    return charts


def rl_effects(results: "Results") -> Chart | None:
    """RL against SFT alone, and against SFT on as many examples; None if there are no such pairs."""
    both = [compare(results, "rl", baseline) for baseline in ("none", "matched")]
    found = [each for one in both for each in one.found if each.choice not in ("none", "matched")]
    untested = sum(one.untested for one in both)
    return _chart("rl", "Did RL help?", "rl", found, untested) if found else None


def compare(results: "Results", word: str, baseline: Any) -> Compared:
    """Every cell with the one that has the choice `baseline` for `word`; the mean of each choice stands first."""
    wanted = dict.fromkeys(SIDES, baseline) if word == STRATEGY else {word: baseline}
    pairs: dict[str, list[tuple[Series, Series, Gain]]] = defaultdict(list)
    untested = 0
    for each in results.series:
        choice = chosen(each.words, word)
        if choice in (None, baseline) or (word == STRATEGY and not are_sides_equal([each.words])):
            continue
        if other := results.baseline_of(each, wanted):
            gain = results.gain(each, other)
            untested += gain is None
            pairs[str(choice)] += [(each, other, gain)] if gain else []
    told = telling([ours for found in pairs.values() for ours, *_ in found])
    rest = [each for each in told if each != word and not (word == STRATEGY and each in (STRATEGY, *SIDES))]
    tests = [gain.p for found in pairs.values() for *_, gain in found]
    corrected = iter(statistics.benjamini_hochberg(tests).tolist())
    compared = []
    for choice, found in pairs.items():
        if len(found) > 1 and (mean := mean_gain(results, [(ours, theirs) for ours, theirs, _ in found])):
            compared.append(Comparison(choice, str(baseline), f"mean of {len(found)}", mean, None))
        compared += [
            Comparison(choice, str(baseline), name(ours, rest), gain, next(corrected)) for ours, _, gain in found
        ]
    return Compared(compared, untested)


def _choices(series: Sequence[Series], word: str) -> list[Any]:
    """The choices for a word, numbers in order."""
    found = list(dict.fromkeys(chosen(each.words, word) for each in series))
    found = [choice for choice in found if choice is not None]
    return sorted(found) if all(isinstance(choice, int | float) for choice in found) else found


def _chart(id: str, title: str, word: str, found: Sequence[Comparison], untested: int) -> Chart:
    means, single = ([each for each in found if (each.corrected is None) is is_mean] for is_mean in (True, False))
    shown = found if len(found) <= MOST else (means or single)[:MOST]
    part = " The figure shows the means alone, the table all comparisons." if len(shown) < len(found) else ""
    part += f" Left out: {untested} without predictions on the same test examples." if untested else ""
    diamonds = " Diamonds: the mean over all comparisons of a choice." if means else ""
    return Chart(
        id=id,
        title=title,
        caption=(
            f"{_verdict(word, means, single)} Gain in accuracy of each cell over the one that is equal in all "
            "else, with its 95 % interval (paired on examples; crossed with seeds where there are several). "
            f"Filled: beyond noise, which means at 5 % after Benjamini–Hochberg (exploratory).{diamonds}{part}"
        ),
        figure=_figure(shown, word),
        heading=(
            *(word, "baseline", "all else", "gain (points)", "low", "high", "p", "p corrected"),
            "detectable (points)",
        ),
        rows=tuple(
            (
                *(each.choice, each.baseline, each.where),
                *numbers((each.gain.mean, each.gain.low, each.gain.high), 100),
                *numbers((each.gain.p, each.corrected)),
                number(each.gain.detectable, 100),
            )
            for each in found
        ),
    )


def _verdict(word: str, means: Sequence[Comparison], single: Sequence[Comparison]) -> str:
    """The answer in a sentence or two: the mean of each choice, and how many comparisons are beyond noise."""
    told = [_answers(means, single)] if word == "rl" else [_levels(means)] if means else []
    sure = [each.gain.mean > 0 for each in single if _is_sure(each)]
    told.append(
        f"Beyond noise, {sum(sure)} of {len(single)} comparisons are better, {len(sure) - sum(sure)} worse."
    )
    known = [100 * each.gain.detectable for each in single if 0 < each.gain.detectable < math.inf]
    if known:
        ends = dict.fromkeys(fixed(end, 1) for end in (min(known), max(known)))
        told.append(f"They could have detected gains of {' to '.join(ends)} points.")
    return " ".join(told)


def _levels(means: Sequence[Comparison]) -> str:
    shown = _ends(means)
    order = "" if len(shown) == len(means) else ", from best to worst"
    return f"On average{order}: {', '.join(map(_told, shown))}."


def _answers(means: Sequence[Comparison], single: Sequence[Comparison]) -> str:
    """Whether the choices helped, each over its baseline: "On average, yes: grpo over none +1.2 points …"."""
    # A choice that was compared once has no mean, and its one comparison answers.
    meant = {(each.choice, each.baseline) for each in means}
    alone = [each for each in single if (each.choice, each.baseline) not in meant]
    shown = _ends([*means, *alone])
    found: dict[str, list[str]] = defaultdict(list)
    for each in shown:
        found[answer(each.gain, each.gain.p if each.corrected is None else each.corrected)].append(_told(each))
    text = "; ".join(f"{said}: {', '.join(told)}" for said, told in found.items())
    return f"On average, {text}." if means else f"{text[0].upper()}{text[1:]}."


def _ends(found: Sequence[Comparison]) -> Sequence[Comparison]:
    """All of a few comparisons, else the best and the worst."""
    ranked = sorted(found, key=lambda each: -each.gain.mean)
    return found if len(found) <= TOLD else [ranked[0], ranked[-1]]


def _told(each: Comparison) -> str:
    gain = each.gain
    between = f"({signed(gain.low)} to {signed(gain.high)})"
    return f"{each.choice} over {each.baseline} {signed(gain.mean)} points {between}"


def _is_sure(each: Comparison) -> bool:
    return (each.gain.p if each.corrected is None else each.corrected) <= ALPHA


def _figure(shown: Sequence[Comparison], word: str) -> dict[str, Any]:
    means, lows, highs = ([getattr(each.gain, end) for each in shown] for end in ("mean", "low", "high"))
    several = len({each.baseline for each in shown}) > 1
    choices = [f"{each.choice} over {each.baseline}" if several else each.choice for each in shown]
    names = [f"{choice} · {each.where}".removesuffix(" · ") for choice, each in zip(choices, shown, strict=True)]
    shapes = ["diamond" if each.corrected is None else "circle" for each in shown]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(means, 100),
        "y": list(range(len(shown))),
        "error_x": {**bars(means, lows, highs), "color": BLUE},
        "marker": {
            "color": BLUE,
            "size": 10,
            "symbol": [
                shape if _is_sure(each) else f"{shape}-open" for shape, each in zip(shapes, shown, strict=True)
            ],
        },
        "customdata": [plain(each) for each in names],
        "hovertemplate": "%{customdata}<br>%{x} points<extra></extra>",
    }
    zero = {
        "type": "line",
        "x0": 0,
        "x1": 0,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": GREY, "width": 1.5},
    }
    over = "" if several else f" over {plain(f'{word}={shown[0].baseline}', LONG_NAME)}"
    return build(
        [points],
        90 + TALL_ROW * len(shown),
        xaxis=axis(f"gain{over} (points)", zeroline=False, rangemode="tozero"),
        shapes=[zero],
        **headed(names),
    )
