// The details of what is chosen in the picture of lineage. Everything in them comes from others: it is text, never markup.
import * as data from "./lineage-data.js";

/** An element of the page: `make("p", {className: "quiet"}, "text", child, …)`. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

const badge = (kind, text) => make("span", { className: `badge ${kind}` }, text);
/** Most lines of a list. */
const MOST = 200;

function list(items, empty) {
  if (items.length === 0) return make("p", { className: "quiet" }, empty);
  const more = items.length > MOST ? [make("li", { className: "quiet" }, `and ${items.length - MOST} more`)] : [];
  return make("ul", {}, ...items.slice(0, MOST).map((item) => make("li", {}, item)), ...more);
}

const nameOf = (node) => data.plain(data.titleOf(node.data()));

/** Facets, each to be opened. */
function facets(title, known) {
  const facet = ([name, facet]) => make("details", {}, make("summary", {}, data.plain(name)), make("pre", {}, JSON.stringify(facet, null, 2)));
  const all = Object.entries(known ?? {});
  return [make("h3", {}, title), ...(all.length ? all.map(facet) : [make("p", { className: "quiet" }, "None.")])];
}

export class Details {
  #place;
  #page;
  #shown = null;
  #asked = 0;

  /** `page`: `{attempt, choose, expand, at}`, what can be done from here. */
  constructor(place, page) {
    this.#place = place;
    this.#page = page;
  }

  /** What a search found: `[{node, title, note}]`. */
  list(title, found) {
    this.#shown = null;
    this.#asked += 1;
    const link = ({ node, title, note }) => make("span", {}, make("a", { href: this.#page.at(node) }, data.plain(title)), make("span", { className: "quiet" }, ` ${data.plain(note)}`));
    this.#place.replaceChildren(make("h2", {}, title), list(found.map(link), "Nothing."));
  }

  /** Shows what is known of a dataset, or of an edge and one of its jobs. */
  show(element, job = element.isEdge() ? element.data("jobs")[0] : null) {
    this.#shown = element;
    this.#asked += 1;
    const asked = this.#asked;
    this.#place.scrollTop = 0;
    this.#place.dataset.of = "";
    this.refresh();
    const tell = (...more) => {
      // Another may have been chosen meanwhile.
      if (this.#asked === asked) this.#place.querySelector(".rest").replaceChildren(...more);
    };
    this.#page.attempt(async () => {
      try {
        tell(...(await (job ? this.#job(element, job) : this.#dataset(element))));
      } catch (error) {
        tell(make("p", { className: "bad" }, "What else is known of it could not be read."));
        throw error;
      }
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
    const { asset, name, namespace, ready, more, isWhole } = node.data();
    // A way that was not gone may lead somewhere.
    const none = isWhole ? "Nothing." : "Nothing that is shown.";
    const badges = !asset
      ? [badge("claimed", "not in the catalogue")]
      : [
          asset.confirmations > 0 ? badge("good", `proven · ${asset.confirmations} confirmations`) : badge("warn", "not proven"),
          ready === undefined ? null : !ready ? badge("warn", "readiness is not known") : ready.ready ? badge("good", "ready") : badge("bad", `not ready: ${ready.reason}`),
          ready?.unstable ? badge("warn", "chain unstable") : null,
        ];
    const link = (href, text) => make("a", { href }, text);
    const links = asset ? [link(`/listings/${asset.versionId}`, "Listing"), " · ", link(`/bundle?versionId=${asset.versionId}`, "Bundle")] : [];
    return [
      make("h2", {}, nameOf(node)),
      make("p", { className: "quiet" }, data.plain(asset ? `${name} in ${namespace}` : namespace)),
      make("p", {}, ...badges),
      make("p", {}, make("button", { onclick: () => this.#page.expand(node) }, more ? "Show more" : "Show neighbours"), " ", link(this.#page.at(node.id()), "Centre here"), ...(links.length ? [" · ", ...links] : [])),
      isWhole ? "" : make("p", { className: "quiet" }, "Below is what the picture shows; there may be more."),
      make("h3", {}, "Made of"),
      list(this.#steps(node.incomers("edge"), "source"), none),
      make("h3", {}, "Made into"),
      list(this.#steps(node.outgoers("edge"), "target"), none),
    ];
  }

  /** Edges as lines: the dataset at their other end, and the jobs between. */
  #steps(edges, end) {
    return edges.map((edge) => {
      const other = edge[end]();
      const { standing, label } = edge.data();
      const button = (text, to) => make("button", { onclick: () => this.#go(to) }, text);
      return make("span", {}, button(nameOf(other), other), " by ", button(label, edge), " ", badge(standing, standing));
    });
  }

  /** From where to where an edge leads. */
  #way(edge) {
    const { jobs, standing } = edge.data();
    const button = (node) => make("button", { onclick: () => this.#go(node) }, nameOf(node));
    const job = (job) => make("button", { onclick: () => this.show(edge, job) }, data.plain(data.jobOf(job).name));
    return [
      make("h2", {}, jobs.length > 1 ? `${jobs.length} jobs` : "A job"),
      make("p", {}, badge(standing, standing)),
      make("p", {}, button(edge.source()), " → ", button(edge.target())),
      ...(jobs.length > 1 ? [list(jobs.map(job), "")] : []),
    ];
  }

  async #dataset(node) {
    const { namespace, name } = node.data();
    const { facets: known, latestEventAt } = await data.dataset(namespace, name);
    return [make("p", { className: "quiet" }, `Last event: ${latestEventAt ?? "none"}`), ...facets("Facets", known)];
  }

  async #job(edge, job) {
    const { source, target } = edge.data();
    const { namespace, name } = data.jobOf(job);
    const [{ facets: known, latestRun }, edges] = await Promise.all([data.job(job), data.columns(target)]);
    const found = edges.find((edge) => edge.from === source && edge.job === job)?.columns ?? [];
    const run = latestRun && `${latestRun.state ?? "no state"}, ${latestRun.endedAt ?? latestRun.startedAt ?? "no time"}`;
    return [
      make("h3", {}, data.plain(name)),
      make("p", { className: "quiet" }, data.plain(`job in ${namespace}`)),
      make("h3", {}, "Columns"),
      list(found.map(({ from, to }) => data.plain(`${from} → ${to}`)), "No event says."),
      make("h3", {}, "Latest run"),
      make("p", {}, latestRun ? data.plain(`${latestRun.runId}: ${run}`) : "None."),
      ...facets("Facets of the job", known),
      ...(latestRun ? facets("Facets of the run", latestRun.facets) : []),
    ];
  }
}
