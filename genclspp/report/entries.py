"""The table model: entries in rows and columns, from which every format is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genclspp.report.description import Description, Place
from genclspp.report.headline import Headline
from genclspp.report.series import Series
from genclspp.report.statistics import ALPHA, Average, Gain, Interval, Level

AVERAGE: Place = ("average of data sets",)  # the last column


@dataclass(frozen=True)
class Row:
    """A row: the heading of its block, empty for none, and its choices."""

    block: str
    place: Place


At = tuple[Row, Place]


@dataclass(frozen=True)
class Entry:
    """Where a row and a column meet.

    n:         how many seeds have a value, 0 for none; of an average, over how many data sets it is
    mean, sd:  over them; sd is None for one seed, and for an average
    level:     the same with its interval; None where scores of the test examples are not known
    gain:      over the baseline; None where it cannot be tested
    points:    the mean of the gain, also where it cannot be tested; None without a baseline on the same examples
    relative:  the gain as a share of the baseline
    corrected: p of the gain after Holm
    on:        of an average (`is_average`): on how many data sets the gain is significant
    is_best:   not significantly below the best of its column
    is_fixed:  nothing in the cell is random, so that one run stands for every seed
    beside:    number -> its mean over seeds
    """

    n: int
    mean: float
    sd: float | None = None
    level: Level | None = None
    is_baseline: bool = False
    gain: Gain | Average | None = None
    points: float | None = None
    relative: Interval | None = None
    corrected: float | None = None
    on: int | None = None
    is_best: bool = False
    is_fixed: bool = False
    is_average: bool = False
    beside: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_significant(self) -> bool:
        return self.corrected is not None and self.corrected <= ALPHA


@dataclass(frozen=True)
class Table:
    """Rows and columns in order, and the entries where they meet; without column words, one column.

    entries:  those of which no series exists are missing
    series:   of each entry but averages
    shared:   word -> choice that all cells share
    base:     what the baseline of an entry is; empty if nothing is compared
    compared: how many entries were tested against the best of their column
    headlines: of each data set, see `headline`
    absent:   choices that the description names and no record has
    """

    name: str
    description: Description
    rows: Sequence[Row]
    columns: Sequence[Place]
    entries: Mapping[At, Entry]
    series: Mapping[At, Series]
    shared: Mapping[str, Any]
    base: str
    compared: int
    headlines: Sequence[Headline]
    absent: Sequence[str]

    @property
    def seeds(self) -> list[int]:
        return sorted({record["seed"] for each in self.series.values() for record in each.records})

    @property
    def most(self) -> int:
        """The largest number of seeds of an entry."""
        return max((entry.n for entry in self.entries.values() if not entry.is_average), default=0)

    @property
    def gains(self) -> list[Gain | Average]:
        """Those that were tested."""
        return [entry.gain for entry in self.entries.values() if entry.gain]
