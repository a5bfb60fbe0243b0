// The picture of lineage: a graph that is walked with the mouse or the keyboard, and the details of what is chosen in it.
import * as data from "./lineage-data.js";
import { Details } from "./lineage-details.js";

/** Most datasets that one answer adds to the picture: the nearest; more would be neither readable nor quick to lay out. */
const AT_ONCE = 300;
/** Most datasets of the picture. */
const MOST = 1_500;
/** Most pairs of datasets with an edge that one answer adds, for the same reason. */
const PAIRS_AT_ONCE = 1_000;
/** Most versions whose readiness is asked for after an answer. */
const JUDGED = 100;

const $ = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const mostSteps = Number(document.forms.view.elements.depth.dataset.most);
const direction = (asked.get("direction") ?? "both").toLowerCase();
const depth = Number(asked.get("depth") ?? Math.min(2, mostSteps));

function say(text, isBad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", isBad);
}

/** Does something that asks the server; what is refused is said. */
async function attempt(doing) {
  try {
    await doing();
  } catch (error) {
    if (!(error instanceof data.Refused)) throw error;
    say(error.message, true);
  }
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const dashed = { "border-style": "dashed" };
const standing = (name, hue, more) => ({ selector: `edge[standing = "${name}"]`, style: { "line-color": color(hue), "target-arrow-color": color(hue), ...more } });
const STYLE = [
  {
    selector: "node",
    style: {
      shape: "round-rectangle", width: 210, height: 52, "background-color": color("node"), "border-width": 2, "border-color": color("line"),
      label: "data(label)", color: color("text"), "text-wrap": "wrap", "text-max-width": 200, "text-overflow-wrap": "anywhere", "text-valign": "center", "text-halign": "center",
      "font-size": 13, "line-height": 1.3, "min-zoomed-font-size": 6,
    },
  },
  { selector: "node[proof = 'proven']", style: { "background-color": color("node-proven"), "border-color": color("proven") } },
  { selector: "node[proof = 'unproven']", style: { "background-color": color("node-unproven"), "border-color": color("unproven") } },
  { selector: "node[?more]", style: dashed },
  { selector: "node[?isStart]", style: { "font-weight": "bold", "border-width": 3 } },
  {
    selector: "edge",
    style: {
      width: 2, "curve-style": "bezier", "target-arrow-shape": "triangle", "font-size": 11, color: color("text"), "text-rotation": "autorotate",
      "text-margin-y": -9, "min-zoomed-font-size": 8,
    },
  },
  standing("anchored", "proven", { width: 3 }),
  standing("claimed", "quiet", {}),
  standing("contradicted", "bad", { "line-style": "dashed" }),
  { selector: "edge.beside", style: { width: 4 } },
  { selector: "edge.beside, edge.chosen", style: { label: "data(label)" } },
  { selector: "edge.chosen", style: { width: 7 } },
  { selector: "node.chosen", style: { "border-width": 5, "border-color": color("focus"), "border-style": "solid" } },
];
const cy = cytoscape({ container: $("graph"), style: STYLE, minZoom: 0.05, maxZoom: 2.5, wheelSensitivity: 0.3, boxSelectionEnabled: false });

/** What stands on a dataset: its name, and its badges. */
function label(of) {
  const title = data.short(data.titleOf(of), 30);
  if (!of.asset) return of.more ? `${title}\n+ more` : title;
  const proof = of.proof === "proven" ? `✓ proven` : "○ not proven";
  const ready = !of.ready ? "" : of.ready.ready ? " · ✓ ready" : " · ✕ not ready";
  return `${title}\n${proof}${ready}${of.more ? " · + more" : ""}`;
}

/** Sets what is known of a dataset, and with it what stands on it. */
function know(node, what) {
  node.data(what);
  node.data("label", label(node.data()));
}

/** The edges of an answer by the datasets that they join: there may be thousands of jobs between two, and all stand alike. */
function pairsOf({ nodes, edges }) {
  const [pairs, order] = [new Map(), new Map(nodes.map(({ node }, at) => [node, at]))];
  for (const { from, to, job, standing } of edges) {
    const [source, target] = [from.node, to.node];
    const id = JSON.stringify([source, target]);
    if (!pairs.has(id)) pairs.set(id, { id, source, target, standing, jobs: [] });
    pairs.get(id).jobs.push(job);
  }
  // The nearest first, as the datasets are.
  const far = ({ source, target }) => Math.max(order.get(source), order.get(target));
  return [...pairs.values()].sort((a, b) => far(a) - far(b));
}

/** Adds an answer to the picture: what is there stays. Answers how many of its datasets are left out, and how many pairs. */
function add(graph) {
  const room = Math.max(0, Math.min(AT_ONCE, MOST - cy.nodes().length));
  const fresh = graph.nodes.filter(({ node }) => cy.getElementById(node).empty());
  const left = new Set(fresh.slice(room).map(({ node }) => node));
  let [pairs, leftPairs] = [0, 0];
  cy.batch(() => {
    for (const { node, frontier, asset, ...named } of fresh.slice(0, room)) {
      const proof = asset && (asset.confirmations > 0 ? "proven" : "unproven");
      cy.add({ group: "nodes", data: { id: node, ...named, asset, proof, more: frontier, isStart: node === graph.node && cy.nodes().empty() } });
    }
    for (const pair of pairsOf(graph)) {
      const { id, source, target, jobs } = pair;
      const label = jobs.length > 1 ? `${jobs.length} jobs` : data.short(data.jobOf(jobs[0]).name, 24);
      const known = cy.getElementById(id);
      if (known.nonempty()) {
        // A bound may have left jobs out before.
        if (jobs.length > known.data("jobs").length) known.data({ jobs, label });
        continue;
      }
      if (left.has(source) || left.has(target) || pairs === PAIRS_AT_ONCE) {
        for (const id of [source, target].filter((id) => !left.has(id))) cy.getElementById(id).data("more", true);
        leftPairs += 1;
        continue;
      }
      pairs += 1;
      cy.add({ group: "edges", data: { ...pair, label } });
    }
    cy.nodes().forEach((node) => know(node, {}));
  });
  return { nodes: left.size, pairs: leftPairs };
}

/** How many steps each dataset is from the start, by identifier: those it is made of are before it. */
function stepsFromStart() {
  const steps = new Map();
  for (const seed of [...cy.nodes("[?isStart]"), ...cy.nodes()]) {
    // What a bound has cut off from the start stands in its column.
    const queue = steps.has(seed.id()) ? [] : [[seed, 0]];
    for (const [node, step] of queue) {
      if (steps.has(node.id())) continue;
      steps.set(node.id(), step);
      for (const other of node.outgoers("node")) queue.push([other, step + 1]);
      for (const other of node.incomers("node")) queue.push([other, step - 1]);
    }
  }
  return steps;
}

/** A column for each step, from left to right. */
function columns() {
  const columns = new Map();
  for (const [id, step] of stepsFromStart()) columns.set(step, columns.get(step) ?? []).get(step).push(id);
  const places = new Map();
  for (const [step, ids] of columns) ids.forEach((id, at) => places.set(id, { x: 320 * step, y: 70 * (at - (ids.length - 1) / 2) }));
  return { name: "preset", positions: (node) => places.get(node.id()) };
}

/** From left to right with few crossings. It takes minutes where many edges are long. */
const LAYERS = { name: "dagre", rankDir: "LR", nodeSep: 18, rankSep: 140 };
const MOST_IN_LAYERS = 400;

/** Puts everything in its place; `kept` stays where it is on the screen. */
function arrange(kept) {
  const before = kept && { ...kept.renderedPosition() };
  const layout = cy.edges().length > MOST_IN_LAYERS ? columns() : LAYERS;
  cy.layout({ ...layout, animate: false, fit: !kept, padding: 30 }).run();
  if (!kept) {
    // All of it, as far as it can be read.
    cy.zoom(Math.min(1, Math.max(0.6, cy.zoom())));
    return cy.center(cy.zoom() > 0.6 ? undefined : cy.nodes("[?isStart]"));
  }
  const after = kept.renderedPosition();
  cy.panBy({ x: before.x - after.x, y: before.y - after.y });
}

/** Whether a bound has left something out of an answer. */
const isCut = (left, graph) => left.nodes > 0 || left.pairs > 0 || graph.truncated;

/** What the picture holds, in words. */
function tell(left, isTruncated) {
  const more = left.nodes || left.pairs ? ` Left out: ${isTruncated ? "at least " : ""}${left.nodes} datasets and ${left.pairs} edges; what says “+ more” has more.`
    : isTruncated ? " It goes on: what says “+ more” has more." : "";
  const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
  say(`${count(cy.nodes().length, "dataset")}, ${count(cy.edges().length, "edge")}.${more}`);
}

/** Asks which of the versions may be used, the nearest first, and shows it as it is known. */
async function judge() {
  const unknown = cy.nodes().filter((node) => node.data("asset") && node.data("ready") === undefined).slice(0, JUDGED);
  const nodes = new Map(unknown.map((node) => [node.data("asset").versionId, node]));
  for await (const known of data.readiness([...nodes.keys()])) {
    for (const [id, ready] of known) know(nodes.get(id), { ready });
    if (known.some(([id]) => nodes.get(id).hasClass("chosen"))) details.refresh();
  }
}

/** Shows what a dataset was made of and what was made of it. */
async function expand(node) {
  say("Asking…");
  const before = cy.elements().length;
  const graph = await data.graph(node.id(), 1, "both");
  if (!graph) return say("No event names it any more.", true);
  const left = add(graph);
  const isWhole = !isCut(left, graph);
  know(node, { more: !isWhole, isWhole });
  if (cy.elements().length > before) arrange(node);
  tell(left, graph.truncated);
  if (cy.nodes().length >= MOST && !isWhole) say(`The picture is full with ${MOST} datasets: centre it on one of them to go on.`, true);
  details.refresh();
  await judge();
}

/** Makes a dataset or an edge the chosen one. */
function choose(element) {
  if (element.empty()) return;
  cy.elements().removeClass("chosen beside");
  element.addClass("chosen");
  if (element.isNode()) {
    element.connectedEdges().addClass("beside");
    const { x, y } = element.renderedPosition();
    if (x < 0 || y < 0 || x > cy.width() || y > cy.height()) cy.center(element);
    const { label, namespace } = element.data();
    $("graph").setAttribute("aria-label", `Graph of datasets; chosen: ${label.replace("\n", ", ")}, in ${namespace}`);
  }
  details.show(element);
}

const details = new Details($("details"), {
  attempt,
  choose,
  expand: (node) => attempt(() => expand(node)),
  at: (node) => `/lineage?${new URLSearchParams({ node, depth, direction })}`,
});

/** The dataset or the edge that is chosen, or else the start. */
const chosen = () => (cy.$(".chosen").nonempty() ? cy.$(".chosen") : cy.nodes("[?isStart]"));

/** The nearest of some datasets to one. */
function nearest(of, some) {
  const far = (node) => Math.hypot(node.position("x") - of.position("x"), node.position("y") - of.position("y"));
  return some.empty() ? some : some.min(far).ele;
}

const beside = (sign) => (node) => {
  const is = (other) => sign * (other.position("y") - node.position("y")) > 1 && Math.abs(other.position("x") - node.position("x")) < 105;
  return nearest(node, cy.nodes().filter(is));
};
const STEPS = {
  ArrowLeft: (at) => (at.isEdge() ? at.source() : nearest(at, at.incomers("node").difference(at))),
  ArrowRight: (at) => (at.isEdge() ? at.target() : nearest(at, at.outgoers("node").difference(at))),
  ArrowUp: (at) => (at.isEdge() ? at : beside(-1)(at)),
  ArrowDown: (at) => (at.isEdge() ? at : beside(1)(at)),
  Home: () => cy.nodes("[?isStart]"),
};
const zoom = (by) => cy.zoom({ level: cy.zoom() * by, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } });
const KEYS = {
  "+": () => zoom(1.25),
  "=": () => zoom(1.25),
  "-": () => zoom(0.8),
  0: () => cy.fit(undefined, 30),
  Enter: (at) => at.isNode() && attempt(() => expand(at)),
  " ": () => $("details").focus(),
};

$("graph").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || cy.nodes().empty()) return;
  const act = STEPS[event.key] ? (at) => choose(STEPS[event.key](at)) : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act(chosen());
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") $("graph").focus();
  if (event.key === "/" && !event.target.closest("input, select, textarea")) {
    event.preventDefault();
    $("q").focus();
  }
});
cy.on("tap", "node, edge", ({ target }) => {
  $("graph").focus();
  choose(target);
  if (target.isNode() && !target.data("isWhole")) attempt(() => expand(target));
});

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => find($("q").value.trim()));
});

let lastSought = 0;

/** Lists what a text finds. */
async function find(text) {
  const sought = ++lastSought;
  say("Asking…");
  const found = await data.search(text);
  // Something else may have been looked for meanwhile.
  if (sought !== lastSought) return;
  details.list(text ? `Found for “${text}”` : "The newest of the catalogue", found);
  say(found.length ? `${found.length} found.` : `Nothing found for “${text}”.`);
}

async function begin() {
  const node = asked.get("node");
  const { view } = document.forms;
  view.elements.depth.append(...Array.from({ length: mostSteps + 1 }, (_, depth) => new Option(depth, depth)));
  view.elements.node.value = node ?? "";
  // Whoever comes back to the page finds what it shows.
  addEventListener("pageshow", () => {
    view.elements.depth.value = depth;
    view.elements.direction.value = direction;
  });
  view.hidden = !node;
  if (!node) return find("");
  if (!Number.isInteger(depth) || depth < 0 || depth > mostSteps) throw new data.Refused(`\`depth\` must be a whole number, 0 to ${mostSteps}.`);
  if (!["up", "down", "both"].includes(direction)) throw new data.Refused("`direction` must be `up`, `down` or `both`.");
  say("Asking…");
  const graph = await data.graph(node, depth, direction);
  if (!graph) {
    await find("");
    return say(`No event names ${node}.`, true);
  }
  const left = add(graph);
  arrange();
  tell(left, graph.truncated);
  know(cy.nodes("[?isStart]"), { isWhole: direction === "both" && depth > 0 && !isCut(left, graph) });
  // Who looks for something else meanwhile is not disturbed.
  if (lastSought === 0) {
    choose(cy.nodes("[?isStart]"));
    $("graph").focus();
  }
  await judge();
}

attempt(begin);
