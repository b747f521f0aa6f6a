"""What stands under a table: how it was computed, its family of tests, what it could have detected, from what."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genclspp.report.entries import AVERAGE, Entry, Table
from genclspp.report.figures import MISSING, between, is_share, value
from genclspp.report.headline import SPLIT, Headline
from genclspp.report.records import TRAIN, Record, data_of
from genclspp.report.results import RESAMPLED
from genclspp.report.series import Series
from genclspp.report.statistics import DATASETS, Average

COMMIT = 12  # characters of a commit


def notes(table: Table, intervals: bool = True, relative: bool = True) -> list[str]:
    """The sentences under a table. intervals, relative: whether it shows intervals of gains, and relative gains"""
    about = [*_on_level(table), *_on_gains(table, intervals, relative), *_on_tests(table), *_on_average(table)]
    shared = f"All cells: {listed(table.shared)}." if listed(table.shared) else ""
    last = [*_on_headlines(table), origin(records_of(table.series.values()))]
    return [
        note for note in (shared, *about, *last, *_on_data(table), *_on_missing(table), *_on_absent(table)) if note
    ]


def _on_data(table: Table) -> list[str]:
    """A sentence per data set whose training examples changed between the records."""
    found: dict[tuple[tuple[str, str], ...], set[str]] = {}
    for record in records_of(table.series.values()):
        if TRAIN in record:  # older records do not say
            found.setdefault(data_of(record), set()).add(record[TRAIN])
    names = [dict(words).get("dataset") for words, digests in found.items() if len(digests) > 1]
    return [f"The training examples of {name} changed between these records." for name in names]


def listed(words: Mapping[str, Any]) -> str:
    """Words and choices, such as "dataset trec · model minilm"."""
    return " · ".join(f"{word} {choice}" for word, choice in words.items() if choice not in (None, ""))


def records_of(series: Iterable[Series]) -> list[Record]:
    return [record for each in series for record in each.records]


def origin(records: Sequence[Record]) -> str:
    """From which records, and which commit."""
    sweeps = list(dict.fromkeys(str(record.get("name")) for record in records))
    known = [record["commit"] for record in records if record.get("commit")]
    commits = list(dict.fromkeys(_short(each) for commit in known for each in commit.split(" + ")))
    count = f"{len(records)} record{'s' * (len(records) > 1)}"
    where = f"the sweep{'s' * (len(sweeps) > 1)} {', '.join(sorted(sweeps))}"
    made = f", computed at commit {', '.join(sorted(commits))}" if commits else ""
    return f"From {count} of {where}{made}."


def _on_headlines(table: Table) -> list[str]:
    """The best cell of each data set, by which split it was chosen, and how good it is on the test examples."""
    found = [_describe(headline, table) for headline in table.headlines]
    counts = sorted({headline.candidates for headline in table.headlines})
    if not found:
        return []
    among = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    each = " of each data set" if len(found) > 1 else ""
    return [
        f"Best of {among} cells{each}, chosen by {table.description.metric} on the {SPLIT} examples, with its "
        f"{table.description.metric} on the test examples: {'; '.join(found)}."
    ]


def _describe(headline: Headline, table: Table) -> str:
    row, column = next(at for at, series in table.series.items() if series is headline.series)
    words = [*(table.description.rows or ()), *table.description.columns]
    named = zip(words, (*row.place, *column), strict=True)
    cell = " ".join(f"{word}={choice}" for word, choice in named if choice != MISSING)
    level = headline.level
    interval = between(headline.metric, level.low, level.high) if level else ""
    unit = " %" if is_share(headline.metric) else ""
    return f"{cell}, {value(headline.metric, headline.mean)}{unit}" + (f" ({interval})" if interval else "")


def joined(parts: Sequence[str]) -> str:
    """Parts as one reads them: "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _on_level(table: Table) -> list[str]:
    metric, seeds = table.description.metric, table.seeds
    named = f"{metric}{' in %' if is_share(metric) else ''}"
    methods = {entry.level.method for entry in table.entries.values() if entry.level}
    listed = ", ".join(map(str, seeds))
    if _is_fixed(table):
        return [
            f"{named} of one run each, with its 95 % interval over test examples: nothing in the cells is random."
        ]
    if table.most < 2:
        each = "each " if len(seeds) > 1 else ""
        how = " or ".join(sorted(methods - {"crossed"}))
        interval = f", with its 95 % interval over test examples ({how})" if how else ""
        return [f"{named} of one seed {each}({listed}), which tells nothing about retraining{interval}."]
    interval = (
        "; 95 % intervals are over training seeds and test examples, crossed" if "crossed" in methods else ""
    )
    return [f"{named}: mean ± standard deviation over n = {table.most} seeds ({listed}){interval}."]


def _on_gains(table: Table, intervals: bool, relative: bool) -> list[str]:
    if not table.base:
        return []
    points = "points " if is_share(table.description.metric) else ""
    tested = ", with its 95 % interval" if table.gains and intervals else ""
    in_percent = "; in %: of the baseline" if relative else ""
    found = [f"Δ: {points}above {table.base}{tested}{in_percent}."]
    found_in = [entry for entry in table.entries.values() if entry.gain]
    methods = {getattr(entry.gain, "method", "") for entry in found_in}
    single = {getattr(entry.gain, "method", "") for entry in found_in if not entry.is_fixed}
    if any(method.startswith("paired bootstrap") for method in single):
        test = "McNemar's exact test" if any("McNemar" in method for method in single) else "a paired bootstrap"
        found.append(f"Where both have one seed, Δ compares these two checkpoints, not the recipes ({test}).")
    if "crossed, with lent seed variance" in methods:
        found.append("Where one of both has one seed, it is given the seed variance of the other.")
    return found


def _on_tests(table: Table) -> list[str]:
    averages = sum(at[1] == AVERAGE and entry.gain is not None for at, entry in table.entries.items())
    counted = [
        (len(table.gains) - averages, "gain", "†: p ≤ 0.05"),
        (averages, "average gain", ""),
        (table.compared, "comparison", "bold: not significantly below the best of its column"),
    ]
    family = [f"{count} {what}{'s' * (count > 1)}" for count, what, _ in counted if count]
    if not family:
        return [f"Nothing was tested: {_why_untested(table)}."] if len(table.entries) > 1 else []
    marks = "; ".join(mark for count, _, mark in counted if count and mark)
    if table.compared:
        family[-1] += " with the best of a column"
    tests = sum(count for count, *_ in counted)
    whole = f"one family of {tests} tests ({joined(family)})" if tests > 1 else f"one test ({family[0]})"
    return [f"{marks[0].upper()}{marks[1:]}; after Holm's correction in {whole}.", *_on_power(table)]


def _on_power(table: Table) -> list[str]:
    metric = table.description.metric
    found = sorted(gain.detectable for gain in table.gains if 0 < gain.detectable < float("inf"))
    if not found:
        return []
    least, most = (value(metric, gain) for gain in (found[0], found[-1]))
    range_ = least if least == most else f"{least} to {most}"
    points = " points" if is_share(metric) else ""
    return [f"Smallest gain found in 80 % of such comparisons, before Holm's correction: {range_}{points}."]


def _on_average(table: Table) -> list[str]:
    if AVERAGE not in table.columns:
        return []
    sets = len(table.columns) - 1
    ranks = [
        f"{' '.join(row.place)} p = {entry.gain.wilcoxon:.2g}"
        for (row, _), entry in table.entries.items()
        if isinstance(entry.gain, Average) and entry.gain.wilcoxon is not None
    ]
    few = f"; too few for Wilcoxon's signed ranks, which need {DATASETS}" if sets < DATASETS else ""
    over = f"; Wilcoxon's signed ranks, uncorrected: {', '.join(ranks)}" if ranks else few
    return [f"Average: over these {sets} data sets, and no others{over if table.gains else ''}."]


def _why_untested(table: Table) -> str:
    if table.description.metric not in RESAMPLED:
        return f"{table.description.metric} is not among the metrics with tests: {', '.join(RESAMPLED)}"
    return "predictions are not in the artifacts, or of different test examples"


def _on_missing(table: Table) -> list[str]:
    whole = len(table.rows) * len(table.columns)
    there = [entry for entry in table.entries.values() if entry.n]
    few = sum(is_short(table, entry) for entry in there)
    bare = sum(entry.points is not None and entry.gain is None for entry in there) if table.gains else 0
    alone = sum(entry.points is None and not entry.is_baseline for entry in there) if table.base else 0
    fixed = sum(entry.is_fixed for entry in there) if table.most > 1 else 0
    gone = whole - len(there)
    counted = [
        (
            fixed,
            f"Without ±: {fixed} of {whole} entries, in which nothing is random; one run stands for every seed.",
        ),
        (gone, f"–: {gone} of {whole} entries are missing."),
        (few, f"n=: {few} of {whole} entries lack some of the {table.most} seeds."),
        (alone, f"Δ –: {alone} of {whole} entries have no baseline on the same test examples."),
        (bare, f"Δ without interval: {bare} of {whole} entries, whose predictions are not in the artifacts."),
    ]
    return [note for count, note in counted if count]


def _on_absent(table: Table) -> list[str]:
    return [f"No record has {' or '.join(table.absent)}."] if table.absent else []


def _is_fixed(table: Table) -> bool:
    return all(entry.is_fixed or entry.is_average for entry in table.entries.values())


def is_short(table: Table, entry: Entry) -> bool:
    """Whether an entry has fewer seeds than the table, and needs them."""
    return 0 < entry.n < table.most and not entry.is_fixed and not entry.is_average


def _short(commit: str) -> str:
    name, plus, rest = commit.partition("+")
    return name[:COMMIT] + plus + rest
