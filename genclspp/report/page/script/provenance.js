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
  find("provenance-body").replaceChildren(
    make("h3", {}, "Make it again"),
    ...found.commands.map(commandOf),
    make("p", { class: "caption" }, found.commands.length ? "Where the artifacts are there, this computes nothing; elsewhere, everything. Add outputs=FOLDER for another place." : "The records are of a version that did not keep their commands."),
    make("h3", {}, "Configuration"),
    configurationOf(found.choices, of === null ? null : all[of].choices, of === null ? "" : page.cells[of].title),
    make("h3", {}, "Examples"),
    tableOf(["", ""], Object.entries(found.examples).filter(([, value]) => value !== null)),
    make("h3", {}, "Versions, commit and artifacts"),
    tableOf(["", ...seeds], rowsOf(found.seeds)),
  );
}

/** Choices, those that differ from the baseline first. */
function configurationOf(choices, baseline, title) {
  if (!baseline) return tableOf(["", "this cell"], Object.entries(choices));
  const words = [...new Set([...Object.keys(choices), ...Object.keys(baseline)])];
  const differs = (word) => choices[word] !== baseline[word];
  const row = (word) => [word, choices[word] ?? "–", baseline[word] ?? "–"];
  return tableOf(["", "this cell", `baseline: ${title}`], [...words.filter(differs), ...words.filter((word) => !differs(word))].map(row), words.filter(differs).length);
}

/** A row per entry of the records; those that are the same for all seeds are written once. */
function rowsOf(seeds) {
  const names = [...new Set(seeds.flatMap((one) => Object.keys(one)))].filter((name) => name !== "seed");
  return names.map((name) => {
    const values = seeds.map((one) => one[name] ?? "–");
    return [name.replace(/^version\//, ""), ...(new Set(values).size === 1 ? [values[0]] : values)];
  });
}

function tableOf(heading, rows, marked = 0) {
  const width = heading.length;
  const cells = (row) => row.map((value, k) => make(k ? "td" : "th", { scope: k ? null : "row", colspan: k && row.length === 2 ? width - 1 : null }, String(value)));
  return make(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": heading.filter(Boolean).join(", ") || "facts" },
    make(
      "table",
      { class: "facts" },
      heading.some(Boolean) ? make("thead", {}, make("tr", {}, heading.map((name) => make(name ? "th" : "td", { scope: name ? "col" : null }, name)))) : null,
      make("tbody", {}, rows.map((row, k) => make("tr", { class: k < marked ? "differs" : null }, cells(row)))),
    ),
  );
}

/** A command, with a button that copies it. */
function commandOf(text) {
  const code = make("code", { tabindex: "0" }, text);
  const copy = async (event) => {
    const button = event.target;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // a page from a file may not write to the clipboard
      button.textContent = "Press Ctrl+C";
    }
  };
  return make("div", { class: "command" }, code, make("button", { type: "button", class: "quiet", onclick: copy }, "Copy"));
}
