// The table of cells: sorted, filtered, compared with a baseline.

const narrow = matchMedia("(max-width: 50rem)");

/** Build the controls once: they stay, so that the focus does. */
function buildCells(page) {
  const of = (kind) => page.baselines.filter((one) => one.kind === kind).map((one) => [one.name, one.title]);
  const baselines = [["the cell that has", of("choice")], ["one cell", of("cell")]].filter(([, found]) => found.length);
  const filters = page.words.map((word) => [word, choicesOf(page, word)]).filter(([, found]) => found.length <= 40);
  const search = make("input", {
    type: "search",
    id: "menu-q",
    placeholder: "icl numeric …",
    oninput: (event) => go({ q: event.target.value }, true),
  });
  find("cells-controls").append(
    ...(page.baselines.length ? [menu("gain over", "base", baselines)] : []),
    ...(page.cells.length > 1 ? filters.map(([word, found]) => filterBy(word, found)) : []),
    make("label", { class: "field" }, make("span", {}, "search"), search),
    make("button", { type: "button", class: "quiet", onclick: () => go(cleared(page)) }, "Clear"),
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
    make("button", { type: "button", onclick: sort }, column.title),
  );
}

function rowOf(page, columns, row) {
  const isChosen = page.chosen.includes(row.cell.name);
  return make(
    "tr",
    { class: isChosen ? "chosen" : null },
    columns.map((column, k) =>
      make(k ? "td" : "th", { class: column.class, scope: k ? null : "row" }, column.show(row), k || !isChosen ? null : [" ", badge()]),
    ),
  );
}

const badge = () => make("span", { class: "badge", title: "the best cell on validation examples" }, "chosen");

function columnsOf(page, rows, baseline) {
  const levels = rows.map(({ cell }) => cell.accuracy).filter((level) => isNumber(level?.low));
  const number = (key, title, hint, value, show) => ({ key, title, hint, class: "number", sort: value, show });
  const columns = [
    ...nameColumns(page),
    number("accuracy", "accuracy", "% of test examples, mean ± standard deviation over seeds", (row) => row.cell.accuracy?.mean ?? null, (row) => spreadOf(row.cell.accuracy)),
    levels.length > 0 && { key: "interval", title: "95 % interval", hint: "over seeds and examples", class: "graph", sort: (row) => row.cell.accuracy?.low ?? null, show: (row) => intervalOf(row.cell.accuracy, levels, percent, "–") },
    number("seeds", "n", "seeds", (row) => row.cell.seeds.length, (row) => String(row.cell.seeds.length)),
    number("f1", "macro-F1", "mean over labels, ± standard deviation over seeds", (row) => row.cell.macro_f1?.mean ?? null, (row) => spreadOf(row.cell.macro_f1)),
    rows.some(({ cell }) => cell.validation !== null) &&
      number("validation", "validation", "accuracy on validation examples, by which to choose", (row) => row.cell.validation, (row) => percent(row.cell.validation)),
  ].filter(Boolean);
  if (baseline) columns.push(...gainColumns(rows, baseline, number));
  // On a phone, what is seen without scrolling is the accuracy and the gain.
  if (narrow.matches) columns.sort((one, other) => rankOf(one) - rankOf(other));
  return [...columns, linksOf(page)];
}

const FIRST = ["cell", "accuracy", "gain"];
const rankOf = (column) => (FIRST.includes(column.key) ? FIRST.indexOf(column.key) : FIRST.length);

function gainColumns(rows, baseline, number) {
  const gains = rows.map(({ gain }) => gain).filter(Boolean).map(([, mean, low, high]) => ({ mean, low, high }));
  const own = new Set(rows.map(({ gain }) => gain?.[0]));
  const interval = ({ gain }) => (gain ? intervalOf({ mean: gain[1], low: gain[2], high: gain[3] }, gains, points, " to ", 0) : null);
  return [
    number("gain", "gain", `points of accuracy over ${baseline.title}`, (row) => row.gain?.[1] ?? null, (row) => gainOf(row, own)),
    { key: "gain-interval", title: "95 % interval", hint: "of the gain", class: "graph", sort: (row) => row.gain?.[2] ?? null, show: interval },
    number("detectable", "detectable", "the smallest gain that would be found four times in five, in points", (row) => row.gain?.[5] ?? null, (row) => (row.gain ? detectableOf(row.gain[5]) : null)),
  ];
}

/** A gain that only a difference of everything would show is none. */
const detectableOf = (share) => (isNumber(share) && share <= 1 ? percent(share) : ">100");

/** A column per choice where there is room, else one for all of them. */
function nameColumns(page) {
  if (narrow.matches || page.words.length > 7 || !page.words.length) {
    const parts = (cell) => page.words.map((word) => cell.choices[word]).filter(Boolean).map((choice) => make("span", {}, choice));
    const show = ({ cell }) => linkTo(cell, page.words.length ? parts(cell) : cell.title);
    return [{ key: "cell", title: "cell", hint: page.words.join(" · "), class: "name", isText: true, sort: ({ cell }) => cell.title, show }];
  }
  return page.words.map((word, k) => ({
    key: word,
    title: word,
    hint: null,
    class: k ? "choice" : "name",
    isText: true,
    sort: ({ cell }) => cell.choices[word],
    show: ({ cell }) => (k ? cell.choices[word] : linkTo(cell, cell.choices[word] || "–")),
  }));
}

const linkTo = (cell, text) =>
  make("a", { href: addressOf({ tab: "cell", cell: cell.name }), "aria-label": `${cell.title}: curves and confusions` }, text);

/** A link to the comparison with the baseline, or with the chosen cell. */
function linksOf(page) {
  const show = ({ cell, gain }) => {
    const other = gain ? page.cells[gain[0]] : page.cells.find((one) => one.set === cell.set && one.set !== null && one !== cell);
    if (!other) return null;
    const href = addressOf({ tab: "compare", a: cell.name, b: other.name, show: "differ", example: null });
    return make("a", { href, "aria-label": `compare ${cell.title} with ${other.title} example by example` }, "compare");
  };
  return { key: "links", title: "", hint: null, class: "links", sort: () => null, show };
}

const spreadOf = (level) =>
  level ? [percent(level.mean), isNumber(level.sd) ? make("span", { class: "muted" }, ` ± ${percent(level.sd)}`) : null] : "–";

/** A gain, and whether it is beyond noise: by shape, not by colour alone. */
function gainOf({ gain, place }, own) {
  if (!gain) return make("span", { class: "muted" }, own.has(place) ? "baseline" : "–");
  const [mark, name, said] =
    gain[4] > 0.05 ? ["≈", "even", "within noise"] : gain[1] > 0 ? ["▲", "better", "better, beyond noise"] : ["▼", "worse", "worse, beyond noise"];
  return [`${points(gain[1])} `, make("span", { class: `mark ${name}`, role: "img", "aria-label": said, title: `${said}: corrected p = ${plain(gain[4])}` }, mark)];
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
  return (
    about + seeds + `Gains are points of accuracy over ${baseline.title}, on the same examples. ▲ better and ▼ worse at ` +
    `p ≤ 0.05, corrected by Benjamini–Hochberg over the ${count} gain${count === 1 ? "" : "s"} of this column: exploratory. ` +
    "≈ within noise. Detectable: the smallest gain that would be found four times in five."
  );
}
