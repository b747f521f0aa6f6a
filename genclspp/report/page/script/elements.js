// Elements and the texts in them. Whatever comes from records is put in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Attributes beginning with "on" are listeners, true and false set or leave out an attribute. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "line", "circle", "rect"].includes(tag);
  const made = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const muted = (...children) => make("span", { class: "muted" }, ...children);
const remark = (...children) => make("p", { class: "muted" }, ...children);
const button = (attributes, ...children) => make("button", { type: "button", ...attributes }, ...children);
const field = (label, control) => make("label", { class: "field" }, make("span", {}, label), control);

const find = (id) => document.getElementById(id);

/** A text that may be anything: control characters are shown as their pictures, direction follows the letters. */
function shown(text) {
  const picture = (letter) => String.fromCharCode(0x2400 + letter.charCodeAt(0));
  return text.replace(/[\u0000-\u0008\u000b-\u001f]/g, picture);
}

function writing(text, attributes = {}, tag = "div") {
  return make(tag, { dir: "auto", ...attributes, class: `writing ${attributes.class ?? ""}`.trim() }, shown(text));
}

/** A menu whose choice is an entry of the address. options: [value, text, disabled], or [title, options] of a group. */
function menu(label, entry, options, change = (value) => go({ [entry]: value })) {
  const select = make(
    "select",
    { id: `menu-${entry}`, onchange: (event) => change(event.target.value) },
    options.map(optionOf),
  );
  return field(label, select);
}

const optionOf = ([value, text, disabled]) =>
  Array.isArray(text)
    ? make("optgroup", { label: value }, text.map(optionOf))
    : make("option", { value, disabled: Boolean(disabled) }, text);

/** Set a menu to a value, without its listener. */
function choose(entry, value) {
  const select = find(`menu-${entry}`);
  if (select) select.value = value;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A number with so many places, halves away from zero, as tables have it: `fixed` in genclspp/report/figures.py. */
function fixed(value, places) {
  const scale = 10 ** places;
  const whole = Math.round(Number((Math.abs(value) * scale).toFixed(3)));
  return ((Math.sign(value) * whole) / scale).toFixed(places);
}

const percent = (share) => (isNumber(share) ? fixed(100 * share, 1) : "–");
const whole = (share) => (share > 0 && share < 0.005 ? "<1" : String(Math.round(100 * share)));

/** A difference in points, with its sign. */
function points(share) {
  if (!isNumber(share)) return "–";
  const text = fixed(100 * share, 1);
  return Number(text) === 0 ? "0.0" : share < 0 ? `−${text.slice(1)}` : `+${text}`;
}

/** A number of a chart's table. */
function plain(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value).replace(/^-/, "−");
  return String(Number(value.toPrecision(4))).replace(/^-/, "−");
}
