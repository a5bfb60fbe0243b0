// The details of what is chosen in the picture of lineage. Everything in them comes from others: it is text, never markup.
import * as data from "./lineage-data.js";

/** An element of the page: `make("p", {className: "quiet"}, "text", child, …)`. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

const badge = (kind, text) => make("span", { className: `badge ${kind}` }, text);
const list = (items, empty) => (items.length ? make("ul", {}, ...items.map((item) => make("li", {}, item))) : make("p", { className: "quiet" }, empty));

/** Facets, each to be opened. */
function facets(title, known) {
  const facet = ([name, facet]) => make("details", {}, make("summary", {}, name), make("pre", {}, JSON.stringify(facet, null, 2)));
  const all = Object.entries(known ?? {});
  return [make("h3", {}, title), ...(all.length ? all.map(facet) : [make("p", { className: "quiet" }, "None.")])];
}

export class Details {
  #place;
  #page;
  #shown = null;

  /** `page`: `{attempt, choose, expand, at}`, what can be done from here. */
  constructor(place, page) {
    this.#place = place;
    this.#page = page;
  }

  /** What a search found: `[{node, title, note}]`. */
  list(title, found) {
    this.#shown = null;
    const link = ({ node, title, note }) => make("span", {}, make("a", { href: this.#page.at(node) }, title), make("span", { className: "quiet" }, ` ${note}`));
    this.#place.replaceChildren(make("h2", {}, title), list(found.map(link), "Nothing."));
  }

  /** Shows what is known of a dataset or an edge. */
  show(element) {
    this.#shown = element;
    this.#place.scrollTop = 0;
    this.refresh();
    const rest = element.isNode() ? this.#dataset(element) : this.#job(element);
    this.#page.attempt(async () => {
      const more = await rest;
      // Another may have been chosen meanwhile.
      if (this.#shown === element) this.#place.querySelector(".rest").replaceChildren(...more);
    });
  }

  /** Shows anew what the picture knows of what is shown. */
  refresh() {
    if (!this.#shown) return;
    const rest = this.#place.querySelector(".rest");
    const kept = this.#place.dataset.of === this.#shown.id() && rest ? rest : make("div", { className: "rest" }, make("p", { className: "quiet" }, "Asking…"));
    this.#place.dataset.of = this.#shown.id();
    // Whoever goes through them with the keyboard stays at the same place.
    const stops = () => [...this.#place.querySelectorAll("a, button, summary")];
    const at = stops().indexOf(document.activeElement);
    this.#place.replaceChildren(...(this.#shown.isNode() ? this.#head(this.#shown) : this.#way(this.#shown)), kept);
    if (at >= 0) (stops()[at] ?? this.#place).focus();
  }

  /** Chooses another thing from here, where the keyboard stays. */
  #go(element) {
    this.#page.choose(element);
    this.#place.focus();
  }

  /** A dataset's name and badges, and what can be done with it. */
  #head(node) {
    const { asset, name, namespace, ready, more } = node.data();
    const badges = !asset
      ? [badge("claimed", "not in the catalogue")]
      : [
          asset.confirmations > 0 ? badge("good", `proven · ${asset.confirmations} confirmations`) : badge("warn", "not proven"),
          ready === undefined ? null : ready.ready ? badge("good", "ready") : badge("bad", `not ready: ${ready.reason}`),
          ready?.unstable ? badge("warn", "chain unstable") : null,
        ];
    const link = (href, text) => make("a", { href }, text);
    const links = asset ? [link(`/listings/${asset.versionId}`, "Listing"), " · ", link(`/bundle?versionId=${asset.versionId}`, "Bundle")] : [];
    return [
      make("h2", {}, asset?.name ?? name),
      make("p", { className: "quiet" }, asset ? `${name} in ${namespace}` : namespace),
      make("p", {}, ...badges),
      make("p", {}, make("button", { onclick: () => this.#page.expand(node) }, more ? "Show more" : "Show neighbours"), " ", link(this.#page.at(node.id()), "Centre here"), ...(links.length ? [" · ", ...links] : [])),
      make("h3", {}, "Made of"),
      list(this.#steps(node.incomers("edge"), "source"), more ? "Nothing is shown." : "Nothing."),
      make("h3", {}, "Made into"),
      list(this.#steps(node.outgoers("edge"), "target"), more ? "Nothing is shown." : "Nothing."),
    ];
  }

  /** Edges as lines: the dataset at their other end, and the job between. */
  #steps(edges, end) {
    return edges.map((edge) => {
      const other = edge[end]();
      const { standing, job } = edge.data();
      const button = (text, to) => make("button", { onclick: () => this.#go(to) }, text);
      const name = other.data("asset")?.name ?? other.data("name");
      return make("span", {}, button(name, other), " by ", button(data.short(data.jobOf(job).name, 32), edge), " ", badge(standing, standing));
    });
  }

  /** From where to where an edge leads. */
  #way(edge) {
    const { job, standing } = edge.data();
    const { namespace, name } = data.jobOf(job);
    const button = (node) => make("button", { onclick: () => this.#go(node) }, node.data("asset")?.name ?? node.data("name"));
    return [
      make("h2", {}, name),
      make("p", { className: "quiet" }, `job in ${namespace}`),
      make("p", {}, badge(standing, standing)),
      make("p", {}, button(edge.source()), " → ", button(edge.target())),
    ];
  }

  async #dataset(node) {
    const { namespace, name } = node.data();
    const { facets: known, latestEventAt } = await data.dataset(namespace, name);
    return [make("p", { className: "quiet" }, `Last event: ${latestEventAt ?? "none"}`), ...facets("Facets", known)];
  }

  async #job(edge) {
    const { source, target, job } = edge.data();
    const [{ facets: known, latestRun }, edges] = await Promise.all([data.job(job), data.columns(target)]);
    const found = edges.find((edge) => edge.from === source && edge.job === job)?.columns ?? [];
    const run = latestRun && `${latestRun.state ?? "no state"}, ${latestRun.endedAt ?? latestRun.startedAt ?? "no time"}`;
    return [
      make("h3", {}, "Columns"),
      list(found.map(({ from, to }) => `${from} → ${to}`), "No event says."),
      make("h3", {}, "Latest run"),
      make("p", {}, latestRun ? `${latestRun.runId}: ${run}` : "None."),
      ...facets("Facets of the job", known),
      ...(latestRun ? facets("Facets of the run", latestRun.facets) : []),
    ];
  }
}
