// Both prompts of an example, put together from pieces; lines that the other prompt lacks are marked.

async function drawPrompts(sides, place) {
  const kept = sides.map(({ cell, at }) => cell.prompts[at] ?? null);
  find("prompts").querySelector("summary").textContent = kept.length > 1 ? "Both prompts" : "Prompt";
  find("prompts").hidden = kept.every((number) => number === null);
  if (find("prompts").hidden || !find("prompts").open) return;
  const pieces = await block("pieces");
  const rows = [];
  for (const number of kept) rows.push(number === null ? null : (await promptsOf(number))[place]);
  find("prompts-body").replaceChildren(...rows.map((row, k) => promptOf(pieces, row, rows[1 - k], k)));
}

function promptOf(pieces, row, other, k) {
  const name = ["A", "B"][k];
  if (row === null) return make("section", {}, make("h3", {}, name), remark("has no prompt"));
  const known = new Set(other ?? row);
  const line = (piece) => pieces[piece].replace(/\r?\n$/, "") || " ";
  const lines = row.map((piece) => writing(line(piece), known.has(piece) ? {} : { class: "differs" }));
  return make(
    "section",
    {},
    make("h3", {}, make("span", { class: `side side-${k}` }, name), " ", muted(`${row.length} lines`)),
    make("div", { class: "prompt", tabindex: "0", role: "region", "aria-label": `prompt of ${name}` }, lines),
  );
}
