"""Make the page: pack what it shows, and put it with script and stylesheet into the template."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from genclspp.report.charts import cell_charts, sweep_charts
from genclspp.report.page import content, examples, gains, headline, provenance
from genclspp.report.page.blocks import Blocks, pack, pack_json
from genclspp.report.page.content import Outstanding
from genclspp.report.results import Results

TABS = {
    "cells": "Cells",
    "compare": "Compare two",
    "dimensions": "Dimensions",
    "cell": "One cell",
    "cost": "Cost",
    "provenance": "Provenance",
}
SCRIPTS = ("blocks", "address", "elements", "cells", "compare", "prompts", "charts", "provenance", "start")


def make(names: Sequence[str], results: Results, outstanding: Sequence[Outstanding]) -> str:
    """The page of the sweeps `names`: the same bytes for the same records.

    outstanding: the cells that have no record
    """
    words = content.words(results)
    titles = [content.title_of(series, words) for series in results.series]
    named = [content.name_of(series) for series in results.series]
    possible = gains.baselines(results, named, titles, content.best_first(results))
    found = [(baseline, rows) for baseline in possible if any(rows := gains.gains(results, baseline))]
    baselines = [baseline for baseline, _ in found]
    blocks: Blocks = {"plotly": pack(_plotly().encode())}
    blocks |= {f"gains-{place}": pack_json(rows) for place, (_, rows) in enumerate(found)}
    headlines = headline.headlines(results, words, baselines)
    cells, sets = _cells(results, words, blocks)
    blocks["provenance"] = pack_json([provenance.of(series) for series in results.series])
    blocks["charts"] = pack_json([vars(chart) for chart in sweep_charts(results)] if cells else [])
    blocks["page"] = pack_json(
        {
            "words": words,
            "cells": cells,
            "sets": sets,
            "chosen": [best.name for best in headlines if best.validation is not None],
            "best": [best.name for best in headlines],
            "baselines": [{"name": one.name, "title": one.title, "kind": one.kind} for one in baselines],
        }
    )
    return _template().render(
        names=names,
        several=len(names) > 1,
        tabs=TABS,
        headlines=headlines,
        cells=len(cells),
        shared=content.shared(results),
        outstanding=content.grouped(outstanding),
        missing=content.counted(outstanding),
        script=_script(),
        style=_read("style.css"),
        policy=_policy(),
        blocks=blocks,
    )


def _cells(
    results: Results, words: Sequence[str], blocks: Blocks
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the page says of each series, and of each set of test examples; their blocks are added to `blocks`."""
    kept = examples.Kept(results, blocks)
    cells = []
    for place, series in enumerate(results.series):
        cells.append(content.cell(results, series, words) | kept.add(place, series))
        blocks[f"charts-{place}"] = pack_json([vars(chart) for chart in cell_charts(results, series)])
    return cells, kept.finish()


def _policy() -> str:
    """A content security policy that allows the page's own scripts, and nothing from anywhere else.

    Plotly writes style elements and draws to images.
    """
    scripts = " ".join(f"'sha256-{_digest(text)}'" for text in (_script(), _plotly()))
    rest = "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"
    return f"default-src 'none'; script-src {scripts}; {rest}"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _script() -> str:
    """The script of the page: its files, in order, in a scope of their own."""
    return "(() => {\n" + "\n".join(_read(f"script/{name}.js") for name in SCRIPTS) + "})();\n"


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("genclspp.report", "page")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("template.html")


def _read(name: str) -> str:
    return resources.files("genclspp.report.page").joinpath(name).read_text(encoding="utf-8")
