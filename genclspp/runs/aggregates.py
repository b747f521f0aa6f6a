"""What the seeds of each cell say together, for W&B: its own grouping of runs shows means alone.

Every figure comes from `report.results`, as those of tables and of the page do.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from genclspp.report import measures, statistics
from genclspp.report.records import STRATEGY, chosen, split_words
from genclspp.report.results import Results
from genclspp.report.series import Series, spread
from genclspp.report.summary import NAIVE
from genclspp.runs.tracking import Tracker, warn_on_error, warn_once
from genclspp.runs.wandb_content import Chart
from genclspp.settings import TrackingSettings
from genclspp.store.keys import key

TESTED = ("accuracy", "macro_f1")  # with intervals and tests; of all other measures, the mean


def mirror(
    results: Results,
    settings: TrackingSettings,
    outputs: Path,
    sweep: str,
    charts: Sequence[Chart] = (),
    of_series: Sequence[Sequence[Chart]] = (),
) -> None:
    """Log an aggregate run for each series of a sweep, and one for `charts`; an error gives a warning only.

    of_series: the charts of each series, in the order of `results.series`; empty if there are none
    """
    if settings.backend == "none":
        return
    with warn_on_error("mirror what the seeds of cells say together"):
        found = summaries(results)
        own = of_series or [()] * len(found)
        for series, summary, its_charts in zip(results.series, found, own, strict=True):
            choices = {name: str(value) for name, value in series.words.items() if value is not None}
            choices.pop("name", None)
            tracker = Tracker(settings, outputs, sweep, choices, {"seed": [one["seed"] for one in series.records]})
            tracker.aggregate(key(choices), f"aggregate {_name(series, results)}", summary, its_charts)
        if charts:
            Tracker(settings, outputs, sweep, {}, {}).aggregate("charts", f"charts of {sweep}", {}, charts)


def summaries(results: Results) -> list[dict[str, Any]]:
    """What an aggregate run says of each series: `accuracy/mean`, `accuracy/sd`, …; None for what is not known.

    Gains are over `baseline`; `p_holm` is corrected for all gains of this metric in the sweep.
    """
    baselines = [_baseline(each, results) for each in results.series]
    found = [
        {"seeds": len(series.records), "baseline": _name(baseline, results), **_means(series, results)}
        for series, baseline in zip(results.series, baselines, strict=True)
    ]
    for metric in TESTED:
        gains = {
            place: gain
            for place, (series, baseline) in enumerate(zip(results.series, baselines, strict=True))
            if baseline is not series and (gain := results.gain(series, baseline, metric))
        }
        corrected = statistics.holm([gain.p for gain in gains.values()])
        for place, series in enumerate(results.series):
            found[place] |= _level(series, metric, results)
        for (place, gain), p in zip(gains.items(), corrected, strict=True):
            found[place] |= _gain(gain, metric, float(p))
    if any(summary[f"{metric}/low"] is None for summary in found for metric in TESTED):
        warn_once("aggregate runs in Weights & Biases have no intervals where predictions or examples are missing")
    return found


def _baseline(series: Series, results: Results) -> Series:
    """Zero-shot on both sides, all else equal; where there is none, the first series of the data set."""
    naive = results.baseline_of(series, {"train": NAIVE, "infer": NAIVE})
    if naive and any({each.words.get("train"), each.words.get("infer")} != {NAIVE} for each in results.series):
        return naive
    return next(each for each in results.series if each.words.get("dataset") == series.words.get("dataset"))


def _name(series: Series, results: Results) -> str:
    """What tells a series apart in its sweep, such as "strategy=icl decode=ppl"."""
    differing, shared = split_words(results.records)
    names = [name for name in differing if name != "seed"] or [STRATEGY if STRATEGY in shared else "train"]
    return " ".join(f"{name}={value}" for name in names if (value := chosen(series.words, name)) not in (None, ""))


def _means(series: Series, results: Results) -> dict[str, float | None]:
    names = [measure.name for topic in ("result", "calibration", "cost") for measure in measures.of_topic(topic)]
    found = {name: results.values(series, name) for name in names}
    return {f"{name}/mean": _finite(fmean(values.values())) for name, values in found.items() if values}


def _level(series: Series, metric: str, results: Results) -> dict[str, float | None]:
    level = results.level(series, metric)
    if level is None:
        sd = spread(results.values(series, metric).values())
        return {f"{metric}/sd": sd, f"{metric}/low": None, f"{metric}/high": None}
    return {f"{metric}/{name}": _finite(getattr(level, name)) for name in ("mean", "sd", "low", "high")}


def _gain(gain: statistics.Gain, metric: str, p_holm: float) -> dict[str, float | None]:
    found = {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
    found |= {"p": gain.p, "p_holm": p_holm, "detectable": gain.detectable}
    return {f"{metric}/{name}": _finite(value) for name, value in found.items()}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
