// What begins: tabs, light and dark, and the view that the address asks for.

const DRAW = {
  cells: drawCells,
  compare: drawCompare,
  dimensions: drawDimensions,
  cell: drawCell,
  cost: drawCost,
  provenance: drawProvenance,
};
let page;
let drawn = Promise.resolve();

/** Draw what the address says, after what is being drawn. */
function redraw() {
  drawn = drawn.then(async () => {
    const asked = view();
    const name = asked.tab in DRAW ? asked.tab : "cells";
    for (const tab of document.querySelectorAll("[role=tab]")) {
      const isChosen = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      find(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
    if (page.cells.length) await DRAW[name](page, asked);
    document.documentElement.dataset.drawn = location.hash || "#";
  });
  return drawn;
}

/** Arrow keys move between tabs, as in every list of tabs. */
function buildTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  for (const [place, tab] of tabs.entries()) {
    tab.addEventListener("click", () => go({ tab: tab.dataset.tab }));
    tab.addEventListener("keydown", (event) => {
      const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      const found = tabs[(next + tabs.length) % tabs.length];
      found.focus();
      found.click();
    });
  }
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";

/** Light or dark: what the system prefers, until the switch is used; the browser remembers it if it may. */
function buildTheme() {
  const name = () => (find("theme").textContent = isDark() ? "Light" : "Dark");
  try {
    const kept = localStorage.getItem("genclspp-theme");
    if (kept) document.documentElement.dataset.theme = kept;
  } catch {} // storage may be forbidden for files
  find("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("genclspp-theme", document.documentElement.dataset.theme);
    } catch {}
    name();
    redraw();
  });
  prefersDark.addEventListener("change", () => {
    name();
    redraw();
  });
  name();
}

async function start() {
  buildTheme();
  buildTabs();
  document.querySelector("[data-skip]").addEventListener("click", (event) => {
    event.preventDefault();
    document.querySelector("[role=tabpanel]:not([hidden])").focus();
  });
  page = await block("page");
  if (page.cells.length) {
    buildCells(page);
    buildCompare(page);
    buildCell(page);
  } else {
    const empty = document.querySelectorAll("[role=tabpanel]:not(#view-cells)");
    for (const panel of empty) panel.append(make("p", { class: "note" }, "There are no records yet."));
  }
  addEventListener("hashchange", redraw);
  await redraw();
}

start();
