"""A sheet in each format: terminal, Markdown, LaTeX; and a table as CSV with its numbers unrounded."""

import csv
import io
import re
from dataclasses import replace
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text as Styled

from genclspp.report.entries import Entry, Table
from genclspp.report.figures import is_share, scaled
from genclspp.report.sheets import Sheet, Text, plain, readable

PACKAGES = "booktabs"  # that the LaTeX needs


def show(table: Table, console: Console) -> None:
    """Print a table on a terminal."""
    sheet = readable(table)
    grid = _grid(sheet)
    if console.measure(grid, options=console.options.update(max_width=10_000)).maximum > console.width:
        grid = _grid(_folded(sheet))
    if sheet.title:
        console.print(Styled(sheet.title, style="bold"))
    # A table too wide for the terminal is better than truncated numbers.
    console.print(grid, width=max(console.width, console.measure(grid).minimum), crop=False)
    for note in sheet.notes:
        console.print(Styled(note, style="dim"))


def _grid(sheet: Sheet) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    grid.leading = int(any(len(text) > 1 for row in sheet.rows for text in row))  # separate rows of several lines
    for place, texts in enumerate(zip(sheet.heading, *sheet.rows, strict=True)):
        widest = max(cell_len(line.text + line.mark) for text in texts for line in text)
        if place == 0:
            widest = max(widest, *map(cell_len, sheet.blocks))
        grid.add_column(_styled(texts[0]), justify="left" if place < sheet.words else "right", min_width=widest)
    for block, rows in sheet.blocks.items():
        if block:
            grid.add_row(Styled(block, style="italic"))
        for row in rows:
            grid.add_row(*map(_styled, row))
    return grid


def _folded(sheet: Sheet) -> Sheet:
    """The sheet with combinations of strategies on several lines."""
    fold = [
        [plain("\n".join(line.text.replace("+", "\n+") for line in text)) for text in row[: sheet.words]]
        for row in sheet.rows
    ]
    rows = iter([first + row[sheet.words :] for first, row in zip(fold, sheet.rows, strict=True)])
    return replace(sheet, blocks={block: [next(rows) for _ in each] for block, each in sheet.blocks.items()})


def _styled(text: Text) -> Styled:
    lines = [Styled(line.text, style="bold" if line.is_bold else "").append(line.mark) for line in text]
    return Styled("\n").join(lines)


def markdown(table: Table) -> str:
    """A table as GitHub Markdown, with its notes as a list below."""
    sheet = readable(table)
    rule = [["---" if place < sheet.words else "---:" for place in range(len(sheet.heading))]]
    lines = [[*map(_marked, sheet.heading)], *rule]
    for block, rows in sheet.blocks.items():
        if block:
            lines.append([f"*{_escaped(block)}*", *[""] * (len(sheet.heading) - 1)])
        lines += [[*map(_marked, row)] for row in rows]
    title = f"**{_escaped(sheet.title)}**\n\n" if sheet.title else ""
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{title}{body}\n\n" + "".join(f"- {_escaped(note)}\n" for note in sheet.notes)


def _marked(text: Text) -> str:
    lines = [f"**{_escaped(line.text)}**" if line.is_bold else _escaped(line.text) for line in text]
    return "<br>".join(f"{line}{mark}" for line, mark in zip(lines, (line.mark for line in text), strict=True))


def _escaped(text: str) -> str:
    """Escape Markdown's special characters; a text has no line ends in a table."""
    return " ".join(re.sub(r"([\\`*_\[\]<>|&~$#])", r"\\\1", text).split())


def latex(table: Table) -> str:
    r"""A table for LaTeX with the package booktabs; each line of a text is a line of the table."""
    sheet = readable(table)
    caption = sheet.title or sheet.name  # a label without a caption would have no number
    columns = "l" * sheet.words + "r" * (len(sheet.heading) - sheet.words)
    body = [*_lines(sheet.heading), r"\midrule"]
    for place, (block, rows) in enumerate(sheet.blocks.items()):
        if place:
            body.append(r"\addlinespace")
        if block:
            body.append(rf"\multicolumn{{{len(sheet.heading)}}}{{l}}{{\textit{{{_tex(block)}}}}} \\")
        for number, row in enumerate(rows):
            if number and any(len(text) > 1 for text in row):
                body.append(r"\addlinespace")
            body += _lines(row)
    return "\n".join(
        [
            f"% \\usepackage{{{PACKAGES}}}",
            r"\begin{table}",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            *([rf"\caption{{{_tex(caption)}}}\smallskip"] if caption else []),
            *([rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', sheet.name)}}}"] if sheet.name else []),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip",
            rf"\parbox{{\linewidth}}{{\footnotesize {' '.join(map(_tex, sheet.notes))}}}",
            r"\end{table}",
            "",
        ]
    )


def _lines(texts: list[Text]) -> list[str]:
    """A row as lines of a tabular."""
    deep = max(map(len, texts))
    return [" & ".join(_line(text, number) for text in texts) + r" \\" for number in range(deep)]


def _line(text: Text, number: int) -> str:
    if number >= len(text):
        return ""
    line = text[number]
    written = rf"\textbf{{{_tex(line.text)}}}" if line.is_bold else _tex(line.text)
    return written + _tex(line.mark)


TEX = {
    **{character: rf"\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", '"': "''", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}"},
    **{
        "±": r"$\pm$",
        "Δ": r"$\Delta$",
        "†": r"$^{\dagger}$",
        "–": r"\textendash{}",
        "×": r"$\times$",
        "·": r"$\cdot$",
    },
    **{"→": r"$\rightarrow$", "≤": r"$\leq$"},
}


def _tex(text: str) -> str:
    """Escape LaTeX's characters, and write minus signs. Other scripts than Latin need XeLaTeX or LuaLaTeX."""
    escaped = "".join(TEX.get(character, character) for character in text if character.isprintable())
    return re.sub(r"-(?=-)", "-{}", re.sub(r"(?<![^\s(])-(?=\d)", "$-$", escaped))  # -- would be a dash


def comma_separated(*tables: Table) -> str:
    """Tables as CSV: one row per entry, shares in %, all numbers unrounded; tables with other words below a blank
    line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, table in enumerate(tables):
        if number:
            out.write("\n")
        words = [*(table.description.rows or ()), *table.description.columns]
        beside = list(table.description.beside)
        writer.writerow(["table", "block", *words, *_numbers(table, None), *beside])
        for row in table.rows:
            for column in table.columns:
                entry = table.entries.get((row, column))
                at = [*row.place, *column]
                found = [_exact(entry.beside.get(name) if entry else None) for name in beside]
                writer.writerow([table.name, row.block, *at, *_numbers(table, entry).values(), *found])
    return out.getvalue()


def _numbers(table: Table, entry: Entry | None) -> dict[str, str]:
    """Heading -> text of a number, empty where there is none."""
    metric = table.description.metric
    there = entry if entry and entry.n else Entry(0, float("nan"))
    level, gain, relative = there.level, there.gain, there.relative

    def number(of: Any, name: str) -> str:
        return _exact(None if of is None else scaled(metric, getattr(of, name)))

    return {
        "metric": metric,
        "unit": "%" if is_share(metric) else "",
        "n": str(there.n),
        "mean": number(there if there.n else None, "mean"),
        "sd": number(there if there.sd is not None else None, "sd"),
        "low": number(level, "low"),
        "high": number(level, "high"),
        "level_method": level.method if level else "",
        "is_best": str(int(there.is_best)),
        "is_baseline": str(int(there.is_baseline)),
        "gain": number(there if there.points is not None else None, "points"),
        "gain_low": number(gain, "low"),
        "gain_high": number(gain, "high"),
        "relative": _exact(100 * relative.mean if relative else None),
        "relative_low": _exact(100 * relative.low if relative else None),
        "relative_high": _exact(100 * relative.high if relative else None),
        "p": _exact(gain.p if gain else None),
        "p_holm": _exact(there.corrected),
        "is_significant": str(int(there.is_significant)),
        "detectable": number(gain, "detectable"),
        "gain_method": getattr(gain, "method", "") or ("average" if gain else ""),
        "significant_on": "" if there.on is None else str(there.on),
        "wilcoxon": _exact(getattr(gain, "wilcoxon", None)),
    }


def _exact(number: float | None) -> str:
    """A number with all its digits but those of rounding errors; empty for none, and for infinite ones."""
    return "" if number is None or number != number or abs(number) == float("inf") else f"{number:.12g}"
