// The table of cells: sorted, filtered, compared with a baseline.

const narrow = matchMedia("(max-width: 50rem)");
const MOST = 40; // choices of a word that can be filtered by
const VALIDATION = "accuracy on validation examples, by which to choose";
const NOISE = 0.05; // share of false discoveries among the marks

/** Build the controls once: they stay, so that the focus does. */
function buildCells(page) {
  const of = (kind) => page.baselines.filter((one) => one.kind === kind).map((one) => [one.name, one.title]);
  const baselines = [
    ["the cell that has", of("choice")],
    ["one cell", of("cell")],
  ].filter(([, found]) => found.length);
  const filters = page.words.map((word) => [word, choicesOf(page, word)]).filter(([, found]) => found.length <= MOST);
  const typed = (event) => go({ q: event.target.value }, true);
  find("cells-controls").append(
    ...(baselines.length ? [menu("gain over", "base", baselines)] : []),
    ...(page.cells.length > 1 ? filters.map(([word, found]) => filterBy(word, found)) : []),
    field("search", make("input", { type: "search", id: "menu-q", placeholder: "icl numeric …", oninput: typed })),
    button({ class: "quiet", onclick: () => go(cleared(page)) }, "Clear"),
  );
  narrow.addEventListener("change", () => drawCells(page, view()));
}

const choicesOf = (page, word) =>
  [...new Set(page.cells.map((cell) => cell.choices[word]))].sort((one, other) => byText(one, other));

const filterBy = (word, found) =>
  menu(word, `is.${word}`, [["", "any"], ...found.map((choice) => [`=${choice}`, choice || "–"])]);

const cleared = (page) => ({ q: null, ...Object.fromEntries(page.words.map((word) => [`is.${word}`, null])) });

const byText = (one, other) => one.localeCompare(other, "en", { numeric: true });

async function drawCells(page, view) {
  const base = Math.max(0, page.baselines.findIndex((one) => one.name === view.base));
  const gains = page.baselines.length ? await block(`gains-${base}`) : [];
  const wanted = (view.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const rows = page.cells.map((cell, place) => ({ cell, place, gain: gains[place] ?? null }));
  const kept = rows.filter(
    ({ cell }) =>
      page.words.every((word) => !view[`is.${word}`] || view[`is.${word}`] === `=${cell.choices[word]}`) &&
      wanted.every((part) => cell.title.toLowerCase().includes(part)),
  );
  const columns = columnsOf(page, rows, page.baselines[base]);
  const [, sign, key] = /^(-?)(.*)$/.exec(view.sort ?? "-accuracy");
  const column = columns.find((one) => one.key === key) ?? columns.find((one) => one.key === "accuracy");
  kept.sort((one, other) => inOrder(column.sort(one), column.sort(other), sign ? -1 : 1));

  choose("base", page.baselines[base]?.name ?? "");
  for (const word of page.words) choose(`is.${word}`, view[`is.${word}`] ?? "");
  if (find("menu-q").value !== (view.q ?? "")) find("menu-q").value = view.q ?? "";
  drawHead(columns, column.key, sign);
  find("cells-table").tBodies[0].replaceChildren(...kept.map((row) => rowOf(page, columns, row)));
  find("cells-count").textContent =
    kept.length === rows.length ? `${rows.length} cells` : `${kept.length} of ${rows.length} cells`;
  find("cells-caption").textContent = captionOf(page, gains, page.baselines[base]);
}

/** Missing values come last, in either direction. */
function inOrder(one, other, direction) {
  if (one === null || other === null) return (one === null) - (other === null);
  return direction * (typeof one === "string" ? byText(one, other) : one - other);
}

/** The head is built anew only where its columns change, so that a sort button keeps the focus. */
function drawHead(columns, key, sign) {
  const table = find("cells-table");
  const names = columns.map((column) => column.key).join(" ");
  if (table.dataset.columns !== names) {
    table.dataset.columns = names;
    table.replaceChildren(
      make("caption", { class: "hidden" }, "Cells, with their accuracy and their gain over the baseline"),
      make("thead", {}, make("tr", {}, columns.map((column) => headOf(column)))),
      make("tbody"),
    );
  }
  for (const head of table.tHead.rows[0].cells) {
    if (head.dataset.key !== key) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", sign ? "descending" : "ascending");
  }
}

function headOf(column) {
  if (!column.title) return make("td");
  const sort = () => {
    const [first, second] = column.isText ? [column.key, `-${column.key}`] : [`-${column.key}`, column.key];
    go({ sort: (view().sort ?? "-accuracy") === first ? second : first });
  };
  return make(
    "th",
    { scope: "col", class: column.class, "data-key": column.key, title: column.hint },
    button({ onclick: sort }, column.title),
  );
}

/** The first column heads its row; that of the chosen cell says so. */
function rowOf(page, columns, row) {
  const isChosen = page.chosen.includes(row.cell.name);
  const [first, ...others] = columns;
  return make(
    "tr",
    { class: isChosen && "chosen" },
    make("th", { class: first.class, scope: "row" }, first.show(row), isChosen ? [" ", badge()] : null),
    others.map((column) => make("td", { class: column.class }, column.show(row))),
  );
}

const badge = () => make("span", { class: "badge", title: "the best cell on validation examples" }, "chosen");

/** A column: its key in the address, title and hint, what it is sorted by, and what it shows. */
const columnOf = (key, title, hint, sort, show, kind = "number") => ({ key, title, hint, sort, show, class: kind });

function columnsOf(page, rows, baseline) {
  const levels = rows.map(({ cell }) => cell.accuracy).filter((level) => isNumber(level?.low));
  const mean = (of) => (row) => of(row)?.mean ?? null;
  const [accuracy, f1] = [(row) => row.cell.accuracy, (row) => row.cell.macro_f1];
  const interval = (row) => intervalOf(accuracy(row), levels, percent, "–");
  const validation = (row) => row.cell.validation;
  const shown = (row) => percent(validation(row));
  const sd = "standard deviation over seeds";
  const low = (row) => accuracy(row)?.low ?? null;
  const count = (row) => row.cell.seeds.length;
  const columns = [
    ...nameColumns(page),
    columnOf("accuracy", "accuracy", `% of test examples, ± ${sd}`, mean(accuracy), (row) => spreadOf(accuracy(row))),
    columnOf("interval", "95 % interval", "of accuracy", low, interval, "graph"),
    columnOf("seeds", "n", "seeds", count, (row) => String(count(row))),
    columnOf("f1", "macro-F1", `mean over labels, ± ${sd}`, mean(f1), (row) => spreadOf(f1(row))),
    columnOf("validation", "validation", VALIDATION, validation, shown),
    ...(baseline ? gainColumns(rows, baseline) : []),
  ].filter(({ key, sort }) => !["interval", "validation"].includes(key) || rows.some((row) => sort(row) !== null));
  // On a phone, what is seen without scrolling is the accuracy and the gain.
  if (narrow.matches) columns.sort((one, other) => rankOf(one) - rankOf(other));
  return [...columns, linksOf(page)];
}

const FIRST = ["cell", "accuracy", "gain"];
const rankOf = (column) => (FIRST.includes(column.key) ? FIRST.indexOf(column.key) : FIRST.length);

/** What `gains` of Python has of a row: place of the baseline, mean, low, high, corrected p, detectable. */
const gainIn = ([of, mean, low, high, p, detectable]) => ({ of, mean, low, high, p, detectable });

function gainColumns(rows, baseline) {
  const all = rows.map(({ gain }) => gain && gainIn(gain)).filter(Boolean);
  const own = new Set(all.map(({ of }) => of));
  const by = (name) => (row) => (row.gain ? gainIn(row.gain)[name] : null);
  const interval = (row) => row.gain && intervalOf(gainIn(row.gain), all, points, " to ", 0);
  const detectable = (row) => row.gain && detectableOf(by("detectable")(row));
  return [
    columnOf("gain", "gain", `points of accuracy over ${baseline.title}`, by("mean"), (row) => gainOf(row, own)),
    columnOf("gain-interval", "95 % interval", "of the gain", by("low"), interval, "graph"),
    columnOf("detectable", "detectable", "points found four times in five", by("detectable"), detectable),
  ];
}

/** A gain that only a difference of everything would show is none. */
const detectableOf = (share) => (isNumber(share) && share <= 1 ? percent(share) : ">100");

/** A column per choice where there is room, else one for all of them. */
function nameColumns(page) {
  if (narrow.matches || page.words.length > 7 || !page.words.length) {
    const parts = (cell) => page.words.map((word) => cell.choices[word]).filter(Boolean);
    const show = ({ cell }) => linkTo(cell, ...parts(cell).map((choice) => make("span", {}, choice)));
    const column = columnOf("cell", "cell", page.words.join(" · "), ({ cell }) => cell.title, show, "name");
    return [{ ...column, isText: true }];
  }
  return page.words.map((word, k) => {
    const choice = ({ cell }) => cell.choices[word];
    const show = (row) => (k ? broken(choice(row)) : linkTo(row.cell, choice(row) || "–"));
    return { ...columnOf(word, word, null, choice, show, k ? "choice" : "name"), isText: true };
  });
}

/** A choice that may go on in the next line after "_" and "+". */
const broken = (choice) => choice.split(/(?<=[_+])/).flatMap((part, k) => (k ? [make("wbr"), part] : [part]));

function linkTo(cell, ...children) {
  const href = addressOf({ tab: "cell", cell: cell.name });
  const shown = children.length ? children : [cell.title];
  return make("a", { href, "aria-label": `${cell.title}: curves and confusions` }, ...shown);
}

/** A link to the comparison with the baseline, or with another cell on the same examples. */
function linksOf(page) {
  const show = ({ cell, gain }) => {
    const isPeer = (one) => one.set === cell.set && one.set !== null && one !== cell;
    const other = gain ? page.cells[gain[0]] : page.cells.find(isPeer);
    if (!other) return null;
    const href = addressOf({ tab: "compare", a: cell.name, b: other.name, show: "differ", example: null });
    return make("a", { href, "aria-label": `compare ${cell.title} with ${other.title}, by example` }, "compare");
  };
  return columnOf("links", "", null, () => null, show, "links");
}

function spreadOf(level) {
  if (!level) return "–";
  return [percent(level.mean), isNumber(level.sd) ? muted(` ± ${percent(level.sd)}`) : null];
}

const MARKS = {
  even: ["≈", "within noise"],
  better: ["▲", "better, beyond noise"],
  worse: ["▼", "worse, beyond noise"],
};

/** A gain, and whether it is beyond noise: by shape, not by colour alone. */
function gainOf({ gain, place }, own) {
  if (!gain) return muted(own.has(place) ? "baseline" : "–");
  const { mean, p } = gainIn(gain);
  const name = p > NOISE ? "even" : mean > 0 ? "better" : "worse";
  const [mark, said] = MARKS[name];
  const title = `${said}: corrected p = ${plain(p)}`;
  return [`${points(mean)} `, make("span", { class: `mark ${name}`, role: "img", "aria-label": said, title }, mark)];
}

/** An interval as text and, beside it, drawn on a scale that all rows share. */
function intervalOf(found, all, write, between, origin = null) {
  if (!isNumber(found?.low)) return "–";
  const ends = all.flatMap(({ low, high }) => [low, high]).concat(origin === null ? [] : [origin]);
  const [least, most] = [Math.min(...ends), Math.max(...ends)];
  const x = (value) => 4 + (92 * (value - least)) / (most - least || 1);
  const graph = make(
    "svg",
    { viewBox: "0 0 100 16", class: "interval", "aria-hidden": "true" },
    origin === null ? null : make("line", { x1: x(origin), x2: x(origin), y1: 0, y2: 16, class: "origin" }),
    make("line", { x1: x(found.low), x2: x(found.high), y1: 8, y2: 8 }),
    make("circle", { cx: x(found.mean), cy: 8, r: 3.2 }),
  );
  return [graph, make("span", {}, `${write(found.low)}${between}${write(found.high)}`)];
}

function captionOf(page, gains, baseline) {
  const single = page.cells.every((cell) => cell.seeds.length === 1);
  const about = "Accuracy counts invalid answers and abstentions as wrong. ";
  const seeds = single
    ? "One seed per cell: intervals are over test examples and say nothing about retraining. "
    : "Intervals are over seeds and test examples together; of a cell with one seed, over test examples. ";
  if (!baseline && page.cells.every((cell) => cell.set === null)) {
    return about + "The predictions are not there: levels are means of the records, without intervals and gains.";
  }
  if (!baseline) return about + seeds + "There is nothing to compare with on the same examples.";
  const count = gains.filter(Boolean).length;
  return [
    `${about}${seeds}Gains are points of accuracy over ${baseline.title}, on the same examples.`,
    `▲ better and ▼ worse at p ≤ ${NOISE}, corrected by Benjamini–Hochberg over the`,
    `${count} gain${count === 1 ? "" : "s"} of this column: exploratory. ≈ within noise.`,
    "Detectable: the smallest gain that would be found four times in five.",
  ].join(" ");
}
