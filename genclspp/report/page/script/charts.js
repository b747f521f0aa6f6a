// Charts: figures that Python made, in the colours of the page, each with its numbers as a table.

let drawing; // plotly, once it is asked for: unpacking and compiling it takes a moment

function plotly() {
  drawing ??= bytes("plotly").then((found) => {
    document.head.append(make("script", {}, new TextDecoder().decode(found)));
    return window.Plotly;
  });
  return drawing;
}

const COLOURS = ["--accent", "--second", "--third", "--fourth", "--fifth", "--sixth"];

/** What figures leave open: colours of text, background and series, fonts. */
function theme() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const [line, ink, surface, family] = ["--line", "--ink", "--surface", "--font"].map(of);
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: of("--muted"), tickcolor: line, automargin: true };
  const scale = (names) => names.map((name, k) => [k / (names.length - 1), of(name)]);
  const diverging = scale(["--worse", "--surface", "--better"]);
  return {
    layout: {
      font: { family, size: 12, color: ink },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      colorway: COLOURS.map(of),
      xaxis: axis,
      yaxis: axis,
      colorscale: { sequential: scale(["--low", "--high"]), diverging },
      hoverlabel: { bgcolor: surface, bordercolor: line, font: { color: ink, family } },
      legend: { orientation: "h", yanchor: "bottom", y: 1.02, x: 0 },
    },
  };
}

// Colours of the figures that are dim on a dark background, and brighter ones of the same hue.
const BRIGHTER = [
  ["#0072B2", "#4DA3E8"],
  ["#D55E00", "#F08A3C"],
  ["#009E73", "#35BF94"],
  ["#E69F00", "#F5DC6B"],
  ["#56B4E9", "#BFE6FA"],
  ["rgba(0,114,178,", "rgba(77,163,232,"],
  ["rgba(213,94,0,", "rgba(240,138,60,"],
  ["rgba(0,158,115,", "rgba(53,191,148,"],
];

/** A figure in the colours of light or dark. */
function coloured(figure) {
  if (!isDark()) return figure;
  return JSON.parse(BRIGHTER.reduce((text, [from, to]) => text.replaceAll(from, to), JSON.stringify(figure)));
}

/** Show charts in an element, in place of those that are there. */
async function drawCharts(body, charts, empty) {
  if (drawing) body.querySelectorAll(".plot").forEach((await drawing).purge);
  body.replaceChildren(...(charts.length ? charts.map(frameOf) : [make("p", { class: "note" }, empty)]));
  if (!charts.length) return;
  const Plotly = await plotly();
  const template = theme();
  for (const chart of charts) {
    const figure = coloured(chart.figure);
    const layout = { dragmode: false, ...figure.layout, template, autosize: true };
    await Plotly.react(find(chart.id), figure.data, layout, { displayModeBar: false, responsive: true });
  }
}

/** Title and caption stand above the figure: the caption answers the question that the title asks. */
function frameOf(chart) {
  const title = `${chart.id}-title`;
  const height = `min-height: ${chart.figure.layout.height ?? 360}px`;
  const name = `${chart.title} ${chart.caption}`;
  return make(
    "figure",
    { class: "chart", "aria-labelledby": title },
    make("figcaption", {}, make("h3", { id: title }, chart.title), make("p", { class: "caption" }, chart.caption)),
    make("div", { id: chart.id, class: "plot", style: height, role: "img", "aria-label": name }),
    make("details", { ontoggle: (event) => fill(event.target, chart) }, make("summary", {}, "Show as table")),
  );
}

/** The table of a chart, made when it is first opened: a confusion matrix has thousands of entries. */
function fill(details, chart) {
  if (!details.open || details.querySelector("table")) return;
  const kinds = chart.heading.map((_, k) => (chart.rows.some((row) => typeof row[k] === "number") ? "number" : null));
  const head = chart.heading.map((name, k) => make("th", { scope: "col", class: kinds[k] }, name));
  const cells = (row) => row.map((value, k) => make("td", { class: kinds[k] }, plain(value)));
  details.append(
    make(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `${chart.title}, as a table` },
      make(
        "table",
        {},
        make("thead", {}, make("tr", {}, head)),
        make("tbody", {}, chart.rows.map((row) => make("tr", {}, cells(row)))),
      ),
    ),
  );
}

/** The cell that the address names, else the chosen one. */
function cellOf(page, view) {
  const found = page.cells.findIndex((cell) => cell.name === (view.cell ?? page.best[0]));
  return Math.max(0, found);
}

function buildCell(page) {
  const cells = page.cells.map((cell) => [cell.name, cell.title]);
  find("cell-controls").append(menu("cell", "cell", cells));
  // The same entry of the address, in a menu of its own.
  const options = cells.map(([value, text]) => make("option", { value }, text));
  const select = make("select", { id: "menu-of", onchange: (event) => go({ cell: event.target.value }) }, options);
  find("provenance-controls").append(field("cell", select));
}

async function drawCell(page, view) {
  const place = cellOf(page, view);
  const cell = page.cells[place];
  choose("cell", cell.name);
  const level = cell.accuracy;
  const between = isNumber(level?.low) ? ` (${percent(level.low)}–${percent(level.high)})` : "";
  const seeds = `${cell.seeds.length} seed${cell.seeds.length === 1 ? "" : "s"}`;
  const mistakes = addressOf({ tab: "compare", a: cell.name, b: cell.name, show: "wrong", example: null });
  find("cell-verdict").replaceChildren(
    make("strong", {}, `${percent(level?.mean)} %`),
    `${between} of test examples right, ${seeds}. `,
    cell.set === null ? "" : make("a", { href: mistakes }, "Its mistakes, one by one"),
  );
  const nothing = "There is nothing to draw: the artifacts of this cell are not there.";
  return drawCharts(find("cell-body"), await block(`charts-${place}`), nothing);
}

const isCost = (chart) => ["cost", "accuracy-for-cost"].includes(chart.id);

async function drawDimensions() {
  const charts = (await block("charts")).filter((chart) => !isCost(chart));
  const nothing = "No two cells differ in one choice alone: a sweep over the choices of a dimension fills this view.";
  return drawCharts(find("dimensions-body"), charts, nothing);
}

async function drawCost() {
  const charts = (await block("charts")).filter(isCost);
  return drawCharts(find("cost-body"), charts, "The records say nothing about cost.");
}
