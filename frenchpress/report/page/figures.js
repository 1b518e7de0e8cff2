// Figures of several experiments: what is lost over what it costs, learning curves, bytes.
"use strict";

const COLOURS = [
  "#1f77b4",
  "#ff7f0e",
  "#2ca02c",
  "#d62728",
  "#9467bd",
  "#8c564b",
  "#e377c2",
  "#7f7f7f",
  "#bcbd22",
  "#17becf",
];
const groups = [...new Set(page.experiments.map((experiment) => experiment.values.group))];
const colourOf = (group) => COLOURS[groups.indexOf(group) % COLOURS.length];
const PARTS = [
  ["value_bits", "values"],
  ["index_bits", "index"],
  ["scale_bits", "scales"],
  ["other", "biases, norm"],
];
const NONE_CHOSEN = "Choose experiments in the first column of the table.";

/** Draw on the element `id`, or say why there is nothing to draw: `reason` is used where there are no traces. */
function draw(id, traces, layout, reason) {
  const place = byId(id);
  const why =
    typeof Plotly === "undefined" ? page.no_figures || "no figures: plotly.min.js is not beside the page" : reason;
  const empty = typeof Plotly === "undefined" || !traces.length;
  place.classList.toggle("empty", empty);
  if (empty) {
    if (typeof Plotly !== "undefined") Plotly.purge(place);
    place.textContent = why;
    return;
  }
  if (!place.classList.contains("js-plotly-plot")) place.textContent = "";
  const whole = { margin: { l: 70, r: 20, t: 20, b: 60 }, hovermode: "closest", ...layout };
  Plotly.react(place, traces, whole, { responsive: true, displaylogo: false });
}

/** Experiments better than all others in x and y at once, from the lowest x; `high`: larger x are better. */
function front(points, high) {
  const sorted = [...points].sort((a, b) => (high ? b.x - a.x : a.x - b.x) || a.y - b.y);
  let least = Infinity;
  const best = sorted.filter((point) => point.y < least && ((least = point.y), true));
  return best.sort((a, b) => a.x - b.x);
}

function hoverText(experiment) {
  const wanted = view.keys.filter((key) => !missing(experiment.values[key]));
  return wanted
    .map((key) => {
      const { title, kind } = columns.get(key);
      const text = plain(written(experiment.values[key], kind));
      return key === "name" ? `<b>${text}</b>` : `${plain(title)}: ${text}`;
    })
    .join("<br>");
}

function errorBars(points, key) {
  const limits = points.map((point) => point.experiment.intervals[key] || [point.y, point.y]);
  return {
    type: "data",
    symmetric: false,
    thickness: 1,
    width: 2,
    visible: points.length <= 60,
    array: limits.map((pair, n) => pair[1] - points[n].y),
    arrayminus: limits.map((pair, n) => points[n].y - pair[0]),
  };
}

function groupTrace(group, points, key) {
  const mine = points.filter((point) => point.experiment.values.group === group);
  return {
    type: "scatter",
    mode: "markers",
    name: plain(group || "experiments"),
    hoverinfo: "text",
    x: mine.map((point) => point.x),
    y: mine.map((point) => point.y),
    error_y: errorBars(mine, key),
    text: mine.map((point) => hoverText(point.experiment)),
    customdata: mine.map((point) => point.experiment.values.name),
    marker: { size: 9, color: colourOf(group), line: { width: 1, color: "#fff" } },
  };
}

function frontTrace(points, high) {
  const best = front(points, high);
  return {
    type: "scatter",
    mode: "lines",
    name: "Pareto front",
    hoverinfo: "skip",
    line: { color: "#555", width: 1, shape: high ? "vh" : "hv" },
    x: best.map((point) => point.x),
    y: best.map((point) => point.y),
  };
}

/** A line at the rate of each GMM system, where PER goes up. */
function gmmShapes(key) {
  const known = page.gmms.filter((gmm) => typeof gmm[key] === "number");
  return {
    shapes: known.map((gmm) => ({
      type: "line",
      xref: "paper",
      x0: 0,
      x1: 1,
      y0: gmm[key],
      y1: gmm[key],
      line: { color: "#bbb", dash: "dot", width: 1 },
    })),
    annotations: known.map((gmm) => ({
      xref: "paper",
      x: 1,
      y: gmm[key],
      xanchor: "right",
      yanchor: "bottom",
      showarrow: false,
      text: plain(gmm.name),
      font: { color: "#999", size: 11 },
    })),
  };
}

/** Experiments of the table with both of their figures. */
function tradePoints() {
  const [x, y] = [byId("trade-x").value, byId("trade-y").value];
  return state.shown
    .map((experiment) => ({ experiment, x: experiment.values[x], y: experiment.values[y] }))
    .filter(
      (point) =>
        typeof point.x === "number" && typeof point.y === "number" && (!byId("trade-log").checked || point.x > 0),
    );
}

function drawTrade() {
  const across = columns.get(byId("trade-x").value);
  const up = columns.get(byId("trade-y").value);
  const log = byId("trade-log").checked;
  if (!across || !up) return draw("trade", [], {}, "Nothing has been decoded yet.");
  const points = tradePoints();
  const high = across.better === "high";
  const there = groups.filter((group) => points.some((point) => point.experiment.values.group === group));
  const traces = there.map((group) => groupTrace(group, points, up.key));
  const layout = {
    xaxis: {
      title: { text: plain(across.title) },
      type: log ? "log" : "linear",
      ...(log ? { dtick: "D2", tickformat: "~s" } : { exponentformat: "SI" }),
    },
    yaxis: { title: { text: plain(up.title) } },
    ...gmmShapes(up.key),
  };
  return draw("trade", traces.length ? [...traces, frontTrace(points, high)] : [], layout, "Nothing shown has both.");
}

function drawCurves() {
  const key = byId("curve").value;
  const chosen = [...state.chosen];
  const known = chosen.filter((experiment) => experiment.curves && experiment.curves[key]);
  const traces = known.map((experiment) => ({
    type: "scatter",
    mode: "lines+markers",
    name: plain(experiment.values.name),
    hoverlabel: { namelength: -1 },
    x: experiment.curves[key].map((_, n) => n + 1),
    y: experiment.curves[key],
  }));
  const layout = {
    xaxis: { title: { text: "epoch" } },
    yaxis: { title: { text: plain(page.curves[key] || "") } },
    showlegend: true,
  };
  draw(
    "curves",
    traces,
    layout,
    chosen.length ? "The directories of the chosen experiments are not here, or have no epochs." : NONE_CHOSEN,
  );
}

/** Bytes of an experiment by part; biases and norm are what is left of all that is stored. */
function partBytes(experiment) {
  const sizes = Object.fromEntries(PARTS.map(([key]) => [key, (experiment.bits[key] || 0) / 8]));
  sizes.other = Math.max(0, experiment.values.stored_bytes - sizes.value_bits - sizes.index_bits - sizes.scale_bits);
  return sizes;
}

/** Horizontal bars of bytes, a row each for `rows` = [name, bytes by part], the first at the top. */
function drawBytes(id, rows, reason) {
  const traces = PARTS.filter(([key]) => rows.some(([, bytes]) => bytes[key])).map(([key, title]) => ({
    type: "bar",
    orientation: "h",
    name: title,
    y: rows.map(([name]) => plain(name)),
    x: rows.map(([, bytes]) => bytes[key]),
  }));
  const layout = {
    barmode: "stack",
    height: 160 + 26 * rows.length,
    margin: { l: 220, r: 20, t: 20, b: 50 },
    showlegend: true,
    xaxis: { title: { text: "bytes" }, exponentformat: "SI" },
    yaxis: { autorange: "reversed", type: "category" },
  };
  draw(id, traces, layout, reason);
}

function drawChosen() {
  drawCurves();
  const sized = [...state.chosen].filter((experiment) => "value_bits" in experiment.bits);
  drawBytes(
    "bytes",
    sized.map((experiment) => [experiment.values.name, partBytes(experiment)]),
    state.chosen.size ? "Their sizes are not known." : NONE_CHOSEN,
  );
}

/** The columns that can be an axis: numbers that some experiment has. */
function axes(wanted) {
  return page.columns.filter(wanted).map((column) => [column.key, column.title]);
}

function startFigures() {
  const across = axes((column) => column.better && !["rate", "points"].includes(column.kind));
  const up = axes((column) => ["rate", "points"].includes(column.kind));
  const first = (pairs, key) => (pairs.some(([one]) => one === key) ? key : (pairs[0] || [""])[0]);
  offer(byId("trade-x"), across, first(across, "stored_bytes"));
  offer(byId("trade-y"), up, first(up, "per_test"));
  offer(byId("curve"), Object.entries(page.curves), "dev_frame_error_cd");
  for (const id of ["trade-x", "trade-y", "trade-log"]) byId(id).onchange = drawTrade;
  byId("curve").onchange = drawCurves;
  if (!columns.has("microseconds")) {
    byId("trade-missing").textContent = "Microseconds and energy per frame: add --chip chips/hcgs65.yaml.";
  }
}

/** A click on a point shows its experiment. */
function followClicks() {
  const place = byId("trade");
  if (!place.on) return;
  place.on("plotly_click", (event) => {
    const name = event.points[0].customdata;
    if (name !== undefined) location.hash = encodeURIComponent(name);
  });
}
