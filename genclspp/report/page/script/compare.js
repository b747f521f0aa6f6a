// Two cells on the same examples, one example at a time.

// Which examples are shown: key in the address, label for two cells, label for one cell, test.
const SHOWN = [
  ["", "all", "all", () => true],
  ["differ", "they differ", null, (one, two) => one !== two],
  ["a", "A right, B wrong", null, (one, two, gold) => one === gold && two !== gold],
  ["b", "A wrong, B right", null, (one, two, gold) => one !== gold && two === gold],
  ["right", "both right", "right", (one, two, gold) => one === gold && two === gold],
  ["wrong", "both wrong", "wrong", (one, two, gold) => one !== gold && two !== gold],
];

let places = []; // of the examples that the filters keep
let current = 0; // where among them the shown example is

function buildCompare(page) {
  const cells = page.cells.map((cell) => [cell.name, cell.title, cell.set === null]);
  const seeds = [...new Set(page.cells.flatMap((cell) => cell.seeds))].sort((one, other) => one - other);
  const swap = () => go({ a: find("menu-b").value, b: find("menu-a").value });
  const filter = ([key, label]) =>
    button({ "data-show": key, onclick: () => go({ show: key }) }, label, make("span", { class: "tally" }));
  find("compare-body").append(
    make(
      "div",
      { class: "controls pair" },
      menu("A", "a", cells),
      button({ class: "quiet swap", onclick: swap, title: "swap A and B", "aria-label": "swap A and B" }, "⇄"),
      menu("B", "b", cells),
      menu("seed", "seed", seeds.map((seed) => [seed, seed])),
    ),
    make("p", { id: "compare-verdict", class: "caption" }),
    make("div", { class: "segments", role: "group", "aria-label": "Show examples where" }, SHOWN.map(filter)),
    make("div", { class: "row" }, stepsOf(), filtersOf()),
    make("article", { id: "example" }),
    make(
      "details",
      { id: "prompts", ontoggle: redraw },
      make("summary", {}, "Both prompts"),
      make("div", { class: "two", id: "prompts-body" }),
    ),
  );
  document.addEventListener("keydown", stepWith);
}

function stepsOf() {
  const step = (id, by, label, title) => button({ id, title, onclick: () => stepBy(by) }, label);
  return make(
    "div",
    { class: "steps" },
    step("previous", -1, "← previous", "left arrow, or p"),
    make("span", { id: "position", role: "status" }),
    step("next", 1, "next →", "right arrow, or n"),
    make("span", { class: "muted keys" }, "arrow keys, or p and n"),
  );
}

function filtersOf() {
  const typed = (event) => go({ find: event.target.value }, true);
  return make(
    "div",
    { class: "controls" },
    menu("gold label", "gold", [["", "any"]]),
    menu("A predicts", "said", [["", "any"]]),
    field("text contains", make("input", { type: "search", id: "menu-find", oninput: typed })),
  );
}

/** Arrow keys, n and p step through the examples, unless they are meant for a control. */
function stepWith(event) {
  const step = { ArrowRight: 1, n: 1, ArrowLeft: -1, p: -1 }[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey || view().tab !== "compare") return;
  if (event.target.closest("input, select, textarea, [role=tab]")) return;
  event.preventDefault();
  stepBy(step);
}

function stepBy(step) {
  const next = Math.min(places.length - 1, Math.max(0, current + step));
  if (places.length) go({ example: find("example").ids[places[next]] }, true);
}

/** The cells that the address names; else the chosen one and its baseline. */
async function pairOf(page, view) {
  const named = (name) => page.cells.findIndex((cell) => cell.name === name && cell.set !== null);
  let a = named(view.a ?? page.best[0]);
  if (a < 0) a = page.cells.findIndex((cell) => cell.set !== null);
  let b = named(view.b);
  if (b < 0 && a >= 0) {
    const gains = page.baselines.length ? await block("gains-0") : [];
    b = gains[a]?.[0] ?? page.cells.findIndex((cell, place) => cell.set === page.cells[a].set && place !== a);
  }
  return [a, b < 0 ? a : b];
}

/** Where a seed stands among those of a cell; a cell that lacks it shows its first. */
const seedOf = (cell, seed) => Math.max(0, cell.seeds.indexOf(Number(seed)));

async function drawCompare(page, view) {
  const [a, b] = await pairOf(page, view);
  const [one, two] = [page.cells[a], page.cells[b]];
  const isPossible = one && one.set === two.set;
  const kept = isPossible ? "*" : one ? ".pair, #compare-verdict" : "#compare-verdict";
  for (const part of find("compare-body").children) part.hidden = !part.matches(kept);
  choose("a", one?.name ?? "");
  choose("b", two?.name ?? "");
  if (!isPossible) {
    find("compare-verdict").textContent = one
      ? "These two cells were tested on different examples; choose two that were tested on the same."
      : "There are no predictions here: they lie in the artifacts of the stage predict, beside the records.";
    return;
  }
  const seed = view.seed ?? String(one.seeds[0]);
  choose("seed", seed);
  const set = page.sets[one.set];
  const sides = [];
  for (const [place, cell] of [[a, one], [b, two]]) {
    const at = seedOf(cell, seed);
    const labels = await labelsOf(place);
    sides.push({ place, cell, at, labels, of: labels.subarray(at * set.examples, (at + 1) * set.examples) });
  }
  const examples = await block(`examples-${one.set}`);
  drawFilters(view, set, examples, sides);
  await drawVerdict(page, set, examples, sides);
  find("example").ids = examples.ids;
  current = Math.max(0, places.findIndex((place) => examples.ids[place] === view.example));
  find("position").textContent = places.length ? `${current + 1} of ${places.length}` : "no example";
  find("previous").disabled = current === 0;
  find("next").disabled = current >= places.length - 1;
  await drawExample(set, examples, sides, places[current]);
}

/** Count what each filter would keep, and keep what the chosen ones do. */
function drawFilters(view, set, examples, sides) {
  const [one, two] = sides.map((side) => side.of);
  const { gold, texts } = examples;
  const letters = (view.find ?? "").toLowerCase();
  const [asked, said] = [view.gold, view.said].map((label) => set.labels.indexOf(label ?? ""));
  const among = [...gold.keys()].filter(
    (place) =>
      (asked < 0 || gold[place] === asked) &&
      (said < 0 || one[place] === said) &&
      (!letters || texts?.[place].toLowerCase().includes(letters)),
  );
  const isAlone = sides[0].place === sides[1].place;
  const offered = SHOWN.filter(([, , alone]) => !isAlone || alone);
  const wanted = offered.some(([key]) => key === view.show) ? view.show : "";
  for (const button of document.querySelectorAll("[data-show]")) {
    const [key, both, alone, test] = SHOWN.find(([key]) => key === button.dataset.show);
    button.hidden = isAlone && !alone;
    button.firstChild.textContent = isAlone ? alone : both;
    const kept = among.filter((place) => test(one[place], two[place], gold[place]));
    const isChosen = key === wanted;
    button.setAttribute("aria-pressed", String(isChosen));
    button.querySelector(".tally").textContent = kept.length;
    if (isChosen) places = kept;
  }
  find("menu-said").previousSibling.textContent = isAlone ? "predicted label" : "A predicts";
  for (const entry of ["gold", "said"]) {
    const menu = find(`menu-${entry}`);
    const options = () => ["", ...set.labels].map((label) => make("option", { value: label }, label || "any"));
    if (menu.dataset.set !== String(set.number)) menu.replaceChildren(...options());
    menu.dataset.set = String(set.number);
    menu.value = set.labels.includes(view[entry]) ? view[entry] : "";
  }
  if (find("menu-find").value !== (view.find ?? "")) find("menu-find").value = view.find ?? "";
}

/** How many each side has right in this seed, and the gain of A over B in all of them. */
async function drawVerdict(page, set, examples, [one, two]) {
  const told = ({ cell, at, of }) => {
    const right = of.reduce((sum, label, place) => sum + (label === examples.gold[place]), 0);
    return `seed ${cell.seeds[at]}: ${right} of ${set.examples} right (${percent(right / set.examples)} %)`;
  };
  const said = one.place === two.place ? told(one) : `A, ${told(one)} · B, ${told(two)}`;
  const gain = await gainBetween(page, one.place, two.place);
  const seeds = Math.max(one.cell.seeds.length, two.cell.seeds.length) > 1 ? "all seeds" : "one seed";
  const between = gain && `95 % interval ${points(gain[1])} to ${points(gain[2])}`;
  const difference = gain ? ` · ${seeds}: A over B ${points(gain[0])} points (${between})` : "";
  find("compare-verdict").textContent = said + difference;
}

/** Mean, low and high of the gain of one cell over another, if either is a baseline. */
async function gainBetween(page, a, b) {
  const over = async (one, other) => {
    const place = page.baselines.findIndex((baseline) => baseline.name === page.cells[other].name);
    return place < 0 ? null : (await block(`gains-${place}`))[one];
  };
  const [found, reverse] = [await over(a, b), await over(b, a)];
  if (found) return found.slice(1, 4);
  return reverse && [-reverse[1], -reverse[3], -reverse[2]];
}

async function drawExample(set, examples, sides, place) {
  if (place === undefined) {
    find("example").replaceChildren();
    find("prompts").hidden = true;
    return;
  }
  const gold = examples.gold[place];
  const columns = [];
  const shownSides = sides[0].place === sides[1].place ? sides.slice(0, 1) : sides;
  for (const [k, side] of shownSides.entries()) columns.push(await answerOf(set, side, place, gold, k));
  const label = writing(set.labels[gold], {}, "bdi");
  find("example").replaceChildren(
    remark("example ", make("bdi", {}, shown(examples.ids[place])), " · gold label ", make("strong", {}, label)),
    examples.texts ? passage("text", examples.texts[place], "blockquote") : remark("its text was not kept"),
    make("div", { class: "two" }, columns),
  );
  await drawPrompts(shownSides, place);
}

const LONG = 3000; // characters of a text that scrolls by itself, so that the predictions stay in sight

function passage(name, text, tag = "div") {
  if (text.length <= LONG) return writing(text, { class: "text" }, tag);
  return writing(text, { class: "text long", tabindex: "0", role: "region", "aria-label": name }, tag);
}

/** What one side predicts: label, probabilities, and in how many seeds it is right. */
async function answerOf(set, { place: number, cell, at, labels }, place, gold, k) {
  const top = (await topOf(number, at, set.examples))(place);
  const remarks = await block(`remarks-${number}-${at}`);
  const said = cell.seeds.map((_, seed) => labels[seed * set.examples + place]);
  const right = said.filter((label) => label === gold).length;
  const isRight = said[at] === gold;
  const counted = cell.seeds.length > 1 ? ` · right in ${right} of ${cell.seeds.length} seeds` : "";
  const hasGold = top.labels.some(({ label }) => label === gold);
  const rows = hasGold ? top.labels : [...top.labels, { label: gold, share: top.gold }];
  const written = remarks.written[place];
  const thought = remarks.thoughts?.[place];
  return make(
    "section",
    { "aria-label": `${"AB"[k]}: ${cell.title}` },
    make("h3", {}, make("span", { class: `side side-${k}` }, "AB"[k]), " ", cell.title),
    make(
      "p",
      { class: `answer ${isRight ? "right" : "wrong"}` },
      `${isRight ? "✓" : "✗"} `,
      make("bdi", {}, nameOfLabel(set, said[at])),
      muted(isRight ? " right" : " wrong", counted),
    ),
    written === undefined ? null : make("p", {}, "wrote ", writing(written, {}, "q")),
    make(
      "table",
      { class: "shares" },
      make("caption", { class: "hidden" }, "Likeliest labels"),
      make("tbody", {}, rows.map((row) => shareOf(set, row, gold))),
    ),
    remarks.truncated.includes(place) ? remark("its prompt was truncated to fit the model") : null,
    thought ? make("details", {}, make("summary", {}, "Thought"), passage("thought", thought)) : null,
  );
}

const NO_LABEL = { [-1]: "no label (invalid)", [-2]: "uncertain" };
const nameOfLabel = (set, label) => NO_LABEL[label] ?? shown(set.labels[label]);

function shareOf(set, { label, share }, gold) {
  const bar = make("span", { class: "bar", style: `width: ${Math.max(1, Math.round(100 * share))}%` });
  return make(
    "tr",
    { class: label === gold ? "gold" : null },
    make("th", { scope: "row" }, make("bdi", {}, nameOfLabel(set, label)), label === gold ? muted(" gold") : null),
    make("td", { class: "track", "aria-hidden": "true" }, bar),
    make("td", { class: "number" }, `${whole(share)} %`),
  );
}
