// The table: sorted, filtered, with the columns that are wanted.
"use strict";

const view = {
  keys: page.columns.filter((column) => column.shown).map((column) => column.key),
  sort: null,
  down: false,
  words: "",
  filters: {},
};

/** A number as it is typed: 300k, 0.25M, 1.5e6; NaN for anything else. */
function typed(text) {
  const found = /^\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*([kKmM]?)\s*$/i.exec(text);
  return found ? Number(found[1]) * { "": 1, k: 1e3, m: 1e6 }[found[2].toLowerCase()] : NaN;
}

/** Whether `value` is within what a filter says: <30, >=300k, 20..30, or a part of its text. */
function passes(value, kind, filter) {
  const scaled = kind === "percent" ? 100 * value : value; // as it is written
  const bound = /^\s*([<>]=?)(.+)$/.exec(filter);
  const range = filter.split("..").map(typed);
  const isNumber = typeof value === "number";
  if (bound && !Number.isNaN(typed(bound[2]))) {
    const limit = typed(bound[2]);
    const holds = { "<": scaled < limit, ">": scaled > limit, "<=": scaled <= limit, ">=": scaled >= limit };
    return isNumber && holds[bound[1]];
  }
  if (range.length === 2 && !range.some(Number.isNaN)) {
    return isNumber && range[0] <= scaled && scaled <= range[1];
  }
  return written(value, kind).toLowerCase().includes(filter.trim().toLowerCase());
}

function isShown(experiment) {
  const values = experiment.values;
  const said = [values.name, values.group, values.state].join(" ").toLowerCase();
  const words = view.words.toLowerCase().split(/\s+/).filter(Boolean);
  const filters = Object.entries(view.filters).filter(([, text]) => text.trim());
  return (
    words.every((word) => said.includes(word)) &&
    filters.every(([key, text]) => passes(values[key], columns.get(key).kind, text))
  );
}

/** Smaller first; what is not known comes last in both directions. */
function order(one, other) {
  const [a, b] = [one.values[view.sort], other.values[view.sort]];
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const smaller = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return view.down ? -smaller : smaller;
}

function heading(column) {
  const button = element("button", { type: "button", onclick: () => sortBy(column.key) }, column.title);
  const made = element("th", { className: column.kind === "text" ? "text" : "", scope: "col" }, button);
  made.dataset.key = column.key;
  return made;
}

function filterBox(column) {
  const input = element("input", { type: "search", value: view.filters[column.key] || "" });
  input.setAttribute("aria-label", `filter ${column.title}`);
  input.dataset.filter = column.key;
  input.oninput = () => {
    view.filters[column.key] = input.value;
    refresh();
  };
  return element("th", { className: column.kind === "text" ? "text" : "" }, input);
}

/** Headings and filters; made anew when other columns are wanted. */
function drawHead() {
  const wanted = view.keys.map((key) => columns.get(key));
  const first = element("th", { title: "chosen: in curves and bytes" }, "✓");
  const rows = [
    element("tr", {}, first, ...wanted.map(heading)),
    element("tr", {}, element("th"), ...wanted.map(filterBox)),
  ];
  byId("table").tHead.replaceChildren(...rows);
}

function cell(experiment, column) {
  const value = experiment.values[column.key];
  const text = written(value, column.kind);
  const limits = experiment.intervals[column.key];
  const title = limits ? `95 % interval ${limits.map((x) => x.toFixed(1)).join(" to ")}` : "";
  const inside = column.key === "name" ? element("a", { href: `#${encodeURIComponent(value)}` }, text) : text;
  return element("td", { className: column.kind === "text" ? "text" : "", title }, inside);
}

function row(experiment) {
  const name = experiment.values.name;
  const box = element("input", { type: "checkbox", checked: state.chosen.has(experiment) });
  box.setAttribute("aria-label", `choose ${name}`);
  box.onchange = () => {
    state.chosen[box.checked ? "add" : "delete"](experiment);
    drawChosen();
  };
  const cells = view.keys.map((key) => cell(experiment, columns.get(key)));
  const made = element(
    "tr",
    { className: experiment === state.current ? "current" : "" },
    element("td", {}, box),
    ...cells,
  );
  made.dataset.name = name;
  return made;
}

function drawBody() {
  byId("table").tBodies[0].replaceChildren(...state.shown.map(row));
  byId("count").textContent = `${state.shown.length} of ${page.experiments.length}`;
  for (const th of byId("table").tHead.rows[0].cells) {
    if (th.dataset.key !== view.sort) th.removeAttribute("aria-sort");
    else th.setAttribute("aria-sort", view.down ? "descending" : "ascending");
  }
}

/** Apply filters and sorting, and draw what shows all shown experiments. */
function refresh() {
  state.shown = page.experiments.filter(isShown);
  if (view.sort !== null) state.shown.sort(order);
  drawBody();
  drawTrade();
}

function sortBy(key) {
  view.down = view.sort === key && !view.down;
  view.sort = key;
  refresh();
}

function columnBox(column) {
  const box = element("input", { type: "checkbox", checked: view.keys.includes(column.key), value: column.key });
  box.onchange = () => {
    const wanted = [...byId("columns").querySelectorAll("input:checked")].map((input) => input.value);
    view.keys = page.columns.map((one) => one.key).filter((key) => wanted.includes(key));
    for (const hidden of Object.keys(view.filters)) if (!wanted.includes(hidden)) delete view.filters[hidden];
    drawHead();
    refresh();
  };
  return element("label", {}, box, ` ${column.title}`);
}

function choose(experiments) {
  state.chosen = new Set(experiments);
  drawBody();
  drawChosen();
}

function startTable() {
  byId("columns")
    .querySelector("div")
    .replaceChildren(...page.columns.map(columnBox));
  byId("find").oninput = () => {
    view.words = byId("find").value;
    refresh();
  };
  byId("choose-all").onclick = () => choose(state.shown);
  byId("choose-none").onclick = () => choose([]);
  drawHead();
}
