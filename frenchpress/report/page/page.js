// Puts everything together; #name of the address is the experiment that is shown.
"use strict";

/** The experiment that the address names, if it does. */
function addressed() {
  return page.experiments.find((experiment) => location.hash === `#${encodeURIComponent(experiment.values.name)}`);
}

function show(experiment) {
  drawOne(experiment);
  for (const tr of byId("table").tBodies[0].rows)
    tr.classList.toggle("current", tr.dataset.name === experiment.values.name);
}

/** At first the Pareto front is chosen, and others with curves or sizes up to a few. */
function firstChosen() {
  const known = page.experiments.filter((experiment) => experiment.curves || "value_bits" in experiment.bits);
  const best = front(tradePoints(), false).map((point) => point.experiment);
  return [...new Set([...best, ...known])].slice(0, MOST_CHOSEN);
}

function followAddress() {
  if (!addressed()) return;
  show(addressed());
  byId("one").scrollIntoView();
}

function start() {
  byId("about").textContent = page.about.join(" · ");
  startTable();
  startFigures();
  startDetails();
  if (!page.experiments.length) {
    byId("one").hidden = true;
    byId("trade").textContent = "Nothing has been trained yet.";
    return;
  }
  state.chosen = new Set(firstChosen());
  refresh();
  drawChosen();
  followClicks();
  show(addressed() || state.current);
  if (addressed()) byId("one").scrollIntoView();
  addEventListener("hashchange", followAddress);
}

start();
performance.mark("drawn");
