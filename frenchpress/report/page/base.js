// What the other scripts share: the data, what is chosen, and how values are written.
"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const columns = new Map(page.columns.map((column) => [column.key, column]));
const byName = new Map(page.experiments.map((experiment) => [experiment.values.name, experiment]));
const MOST_CHOSEN = 8; // at the start

/** What a person has set. `shown`: experiments that pass the filters, in the order of the table. */
const state = { shown: page.experiments, chosen: new Set(), current: page.experiments[0] };

const byId = (id) => document.getElementById(id);

/** An element with properties and children; a child that is a string is text, whatever is in it. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function clock(seconds) {
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

const WRITE = {
  text: String,
  rate: (x) => x.toFixed(2),
  points: (x) => (x > 0 ? "+" : "") + x.toFixed(2),
  number: (x) => String(Number(x.toPrecision(6))),
  count: (x) => (x >= 1e5 ? `${(x / 1e6).toFixed(2)} M` : String(x)),
  percent: (x) => `${(100 * x).toFixed(2)} %`,
  bytes: (x) => (x >= 1e5 ? `${(x / 1e6).toFixed(3)} MB` : `${(x / 1e3).toFixed(1)} kB`),
  times: (x) => `${x.toFixed(2)}x`,
  seconds: clock,
};

const missing = (value) => value === null || value === undefined || value === "";

/** A value as a person reads it; nothing for what is not known. */
function written(value, kind) {
  if (missing(value)) return "";
  return typeof value === "number" ? WRITE[kind](value) : String(value);
}

/** Text that plotly shows as it is: it takes tags in names for markup. */
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Fill a select with [value, text] pairs, and choose one. */
function offer(select, pairs, value) {
  select.replaceChildren(...pairs.map(([key, text]) => element("option", { value: key }, text)));
  select.value = value;
}
