// All about one experiment.
"use strict";

const NOT_HERE = "Not known: its directory is not here.";

/** A matrix as a person calls it: lstm.lstm0.input_matrix is lstm0 input. */
const matrixName = (name) =>
  String(name)
    .replace(/^lstm\./, "")
    .replace(/[._]matrix$/, "")
    .replaceAll(".", " ");

function drawMatrices(experiment) {
  const rows = (experiment.matrices || []).filter((matrix) => matrix.name !== "other");
  const names = rows.map((matrix) => plain(matrixName(matrix.name)));
  const traces = rows.length
    ? [
        { type: "bar", name: "density, %", x: names, y: rows.map((matrix) => 100 * matrix.density) },
        {
          type: "scatter",
          mode: "markers",
          name: "density asked for, %",
          x: names,
          y: rows.map((matrix) => 100 * matrix.asked_density),
          marker: { symbol: "line-ew-open", size: 22, color: "#333" },
        },
        {
          type: "bar",
          name: "bits per weight",
          x: names,
          y: rows.map((matrix) => matrix.weight_bits),
          xaxis: "x2",
          yaxis: "y2",
          text: rows.map((matrix) => String(matrix.weight_bits)),
        },
      ]
    : [];
  const layout = {
    grid: { rows: 1, columns: 2, pattern: "independent" },
    showlegend: true,
    legend: { orientation: "h", y: 1.15 },
    xaxis: { type: "category", automargin: true },
    xaxis2: { type: "category", automargin: true },
    yaxis: { title: { text: "density, %" }, rangemode: "tozero" },
    yaxis2: { title: { text: "bits per weight" }, rangemode: "tozero" },
  };
  draw("matrices", traces, layout, NOT_HERE);
}

function drawMatrixBytes(experiment) {
  const rows = (experiment.matrices || []).map((matrix) => {
    const isOther = matrix.name === "other";
    const bytes = { value_bits: 0, index_bits: 0, scale_bits: 0, other: 0 };
    for (const key of isOther ? [] : Object.keys(bytes)) bytes[key] = (matrix[key] || 0) / 8;
    if (isOther) bytes.other = matrix.value_bits / 8;
    return [isOther ? "biases, norm" : matrixName(matrix.name), bytes];
  });
  drawBytes("matrix-bytes", rows, NOT_HERE);
}

function drawConfusions(experiment) {
  const found = experiment.confusions;
  const names = found ? found.names.map(plain) : [];
  const shares = found
    ? found.table.map((counts) => {
        const total = counts.reduce((sum, count) => sum + count, 0) || 1;
        return counts.map((count) => (100 * count) / total);
      })
    : [];
  const text = found
    ? found.table.map((counts, r) =>
        counts.map(
          (count, c) => `said ${names[r]}, recognised ${names[c]}: ${count} times, ${shares[r][c].toFixed(1)} %`,
        ),
      )
    : [];
  const traces = found
    ? [
        {
          type: "heatmap",
          x: names,
          y: names,
          z: shares,
          text,
          hoverinfo: "text",
          colorscale: "Blues",
          reversescale: true,
          zmin: 0,
          zmax: 100,
          colorbar: { title: { text: "%" } },
        },
      ]
    : [];
  const axis = { type: "category", dtick: 1, tickfont: { size: 10 } };
  const layout = {
    height: 720,
    xaxis: { ...axis, title: { text: "recognised" }, side: "bottom" },
    yaxis: { ...axis, title: { text: "said" }, autorange: "reversed" },
  };
  draw("confusions", traces, layout, "Not known: not decoded here.");
}

/** The configurations that one can be held against: [key, title], its base first. */
function companions(experiment) {
  const bases = experiment.base ? [[`base:${experiment.base}`, `its base, ${experiment.base}`]] : [];
  const others = page.experiments.filter((other) => other !== experiment && Object.keys(other.config).length);
  return [...bases, ...others.map((other) => [`of:${other.values.name}`, other.values.name])];
}

function configOf(key) {
  const name = key.slice(key.indexOf(":") + 1);
  if (key.startsWith("base:")) return page.bases[name] || {};
  return key.startsWith("of:") ? byName.get(name).config : {};
}

function drawConfig() {
  const select = byId("beside");
  const [mine, theirs] = [state.current.config, configOf(select.value)];
  const keys = [...new Set([...Object.keys(mine), ...Object.keys(theirs)])];
  const differs = (key) => mine[key] !== theirs[key];
  const shown = keys.filter((key) => differs(key) || !byId("only-different").checked);
  const said = (value) => (value === undefined ? "(not there)" : value);
  const rows = shown.map((key) =>
    element(
      "tr",
      { className: differs(key) ? "differs" : "" },
      ...[differs(key) ? "≠" : "", key, said(theirs[key]), said(mine[key])].map((text) =>
        element("td", { className: "text" }, text),
      ),
    ),
  );
  const nothing = element("tr", {}, element("td", { className: "text", colSpan: 4 }, "Nothing differs."));
  const title = select.selectedOptions.length ? select.selectedOptions[0].textContent : "";
  const head = ["", "key", title, state.current.values.name].map((text) => element("th", { className: "text" }, text));
  byId("config").tHead.replaceChildren(element("tr", {}, ...head));
  byId("config").tBodies[0].replaceChildren(...(rows.length ? rows : [nothing]));
}

function fileLinks(experiment) {
  return (experiment.files || []).flatMap((name) => [element("a", { href: `${experiment.link}/${name}` }, name), "  "]);
}

/** Show `experiment` below the figures. */
function drawOne(experiment) {
  state.current = experiment;
  byId("one-title").textContent = experiment.values.name;
  byId("one-notes").textContent = experiment.notes.join("\n");
  byId("one-files").replaceChildren(...fileLinks(experiment));
  byId("one-commands").textContent = experiment.commands.join("\n") || "Not known: its .cfg is not.";
  offer(byId("beside"), companions(experiment), (companions(experiment)[0] || [""])[0]);
  drawMatrices(experiment);
  drawMatrixBytes(experiment);
  drawConfusions(experiment);
  drawConfig();
}

function startDetails() {
  byId("beside").onchange = drawConfig;
  byId("only-different").onchange = drawConfig;
}
