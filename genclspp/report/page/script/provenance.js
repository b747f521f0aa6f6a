// Where the figures of a cell come from.

async function drawProvenance(page, view) {
  const place = cellOf(page, view);
  const cell = page.cells[place];
  find("menu-of").value = cell.name;
  const all = await block("provenance");
  const gains = page.baselines.length ? await block("gains-0") : [];
  const of = gains[place]?.[0] ?? null;
  const found = all[place];
  const seeds = found.seeds.map((one) => `seed ${one.seed}`);
  const known = Object.entries(found.examples).filter(([, value]) => value !== null);
  find("provenance-body").replaceChildren(
    make("h3", {}, "Make it again"),
    ...found.commands.map(commandOf),
    make("p", { class: "caption" }, found.commands.length ? AGAIN : "The records do not say how; those of today do."),
    make("h3", {}, "Configuration"),
    configurationOf(found.choices, of === null ? null : all[of].choices, of === null ? "" : page.cells[of].title),
    make("h3", {}, "Examples"),
    tableOf(["", ""], known),
    make("h3", {}, "Versions, commit and artifacts"),
    tableOf(["", ...seeds], rowsOf(found.seeds)),
  );
}

const AGAIN =
  "Where the artifacts are there, this computes nothing; elsewhere, everything. Add outputs=FOLDER for another place.";

/** Choices, those that differ from the baseline first. */
function configurationOf(choices, baseline, title) {
  if (!baseline) return tableOf(["", "this cell"], Object.entries(choices));
  const words = [...new Set([...Object.keys(choices), ...Object.keys(baseline)])];
  const differing = words.filter((word) => choices[word] !== baseline[word]);
  const sorted = [...differing, ...words.filter((word) => !differing.includes(word))];
  const rows = sorted.map((word) => [word, choices[word] ?? "–", baseline[word] ?? "–"]);
  return tableOf(["", "this cell", `baseline: ${title}`], rows, differing.length);
}

/** A row per entry of the records; those that are the same for all seeds are written once. */
function rowsOf(seeds) {
  const names = [...new Set(seeds.flatMap((one) => Object.keys(one)))].filter((name) => name !== "seed");
  return names.map((name) => {
    const values = seeds.map((one) => one[name] ?? "–");
    return [name.replace(/^version\//, ""), ...(new Set(values).size === 1 ? [values[0]] : values)];
  });
}

/** A table of facts; the first `marked` rows are those that differ. A single value spans all columns. */
function tableOf(heading, rows, marked = 0) {
  const span = (row, k) => (k && row.length === 2 ? heading.length - 1 : null);
  const entry = (row) => (value, k) =>
    make(k ? "td" : "th", { scope: k ? null : "row", colspan: span(row, k) }, String(value));
  const head = heading.map((name) => (name ? make("th", { scope: "col" }, name) : make("td")));
  const name = heading.filter(Boolean).join(", ") || "facts";
  return make(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
    make(
      "table",
      { class: "facts" },
      heading.some(Boolean) ? make("thead", {}, make("tr", {}, head)) : null,
      make("tbody", {}, rows.map((row, k) => make("tr", { class: k < marked && "differs" }, row.map(entry(row))))),
    ),
  );
}

/** A command, with a button that copies it. */
function commandOf(text) {
  const code = make("code", { tabindex: "0" }, text);
  const copy = async (event) => {
    try {
      await navigator.clipboard.writeText(text);
      event.target.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // a page from a file may not write to the clipboard
      event.target.textContent = "Press Ctrl+C";
    }
  };
  return make("div", { class: "command" }, code, button({ class: "quiet", onclick: copy }, "Copy"));
}
