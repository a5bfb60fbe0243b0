// What the picture of lineage asks the server for.

/** What is refused, in words for the person who asked. */
export class Refused extends Error {}

async function answer(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Refused("The server does not answer. Try again in a moment.");
  }
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  const { message, error, errors } = body ?? {};
  throw new Refused(errors?.[0]?.message ?? message ?? error ?? `The server answered ${response.status}.`);
}

async function graphql(query, variables) {
  const headers = { "content-type": "application/json" };
  const { data, errors } = await answer(fetch("/graphql", { method: "POST", headers, body: JSON.stringify({ query, variables }) }));
  // Of several fields some may be answered all the same.
  if (errors && Object.values(data ?? {}).every((field) => field === null)) throw new Refused(errors[0].message);
  return data;
}

const GRAPH = `query Picture($node: String!, $depth: Int, $direction: LineageDirection!) {
  lineage(node: $node, depth: $depth, direction: $direction) {
    node
    depth
    truncated
    nodes { node namespace name frontier asset { versionId name confirmations } }
    edges { from { node } to { node } job standing }
  }
}`;

/** The graph around a dataset: `{node, depth, truncated, nodes, edges}`; null when no event names it. */
export async function graph(node, depth, direction) {
  const { lineage } = await graphql(GRAPH, { node, depth, direction: direction.toUpperCase() });
  for (const edge of lineage?.edges ?? []) edge.standing = edge.standing.toLowerCase();
  return lineage;
}

const COLUMNS = `query Columns($node: String!) {
  lineage(node: $node, depth: 1, direction: UP) { edges { from { node } job columns { from to } } }
}`;

/** Of the edges that lead to a dataset: `[{from, job, columns: [{from, to}]}]`. */
export async function columns(node) {
  const { lineage } = await graphql(COLUMNS, { node });
  return (lineage?.edges ?? []).map((edge) => ({ ...edge, from: edge.from.node }));
}

/** How many versions are asked for at once. */
const AT_ONCE = 10;

/** Whether versions may be used, by identifier, some at a time as they are known: `{ready, reason, unstable}`. */
export async function* readiness(versionIds) {
  for (let at = 0; at < versionIds.length; at += AT_ONCE) {
    const some = versionIds.slice(at, at + AT_ONCE);
    const parameters = some.map((_, index) => `$v${index}: Hex32!`).join(" ");
    const fields = some.map((_, index) => `v${index}: readiness(versionId: $v${index}) { ready reason unstable }`).join(" ");
    const variables = Object.fromEntries(some.map((id, index) => [`v${index}`, id]));
    const data = await graphql(`query Readiness(${parameters}) { ${fields} }`, variables);
    yield some.map((id, index) => [id, data[`v${index}`]]);
  }
}

/** What is known of a dataset: `{facets, latestEventAt, …}`. */
export function dataset(namespace, name) {
  return answer(fetch(`/openlineage/nodes/dataset/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`));
}

/** The namespace and the name in `job:<namespace>:<name>`: colons and percent signs of names are escaped. */
export function jobOf(id) {
  const rest = id.slice("job:".length);
  const cut = rest.lastIndexOf(":");
  return { namespace: rest.slice(0, cut), name: rest.slice(cut + 1).replace(/%3A/g, ":").replace(/%25/g, "%") };
}

/** What a dataset is called: as the catalogue calls it, where it is there. */
export const titleOf = ({ asset, name }) => asset?.name ?? name;

/** A name as it is shown: in one line, with what cannot be seen made visible, and without the signs of badges, which are ours to give. */
export const plain = (text) => text.replace(/(?!\u200d)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}✓✔✅☑○◯⚪✕✖✗✘]/gu, "\ufffd");

/** A name as it is shown, or its beginning and its end. */
export function short(text, most) {
  const letters = [...plain(text)];
  return letters.length > most ? `${letters.slice(0, most - 12).join("")}…${letters.slice(-11).join("")}` : letters.join("");
}

/** What is known of a job: `{facets, latestRun, …}`. */
export function job(id) {
  const { namespace, name } = jobOf(id);
  return answer(fetch(`/openlineage/jobs/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`));
}

const VERSIONS = `query Versions($text: String!) { search(query: $text, first: 20) { nodes { name datasetId lineageNode } } }`;
const NEWEST = `query Newest { assets(first: 20) { nodes { name datasetId lineageNode } } }`;

/** Versions of the catalogue that a text finds, or the newest, and datasets of events whose names hold it: `[{node, title, note}]`. */
export async function search(text) {
  const version = ({ name, datasetId, lineageNode }) => ({ node: lineageNode, title: name, note: datasetId });
  if (!text) return (await graphql(NEWEST)).assets.nodes.map(version);
  const [{ search }, { results }] = await Promise.all([
    graphql(VERSIONS, { text }),
    answer(fetch(`/openlineage/search?limit=100&q=${encodeURIComponent(text)}`)),
  ]);
  const told = results.filter(({ type }) => type === "DATASET");
  return [...search.nodes.map(version), ...told.map(({ nodeId, name, namespace }) => ({ node: nodeId, title: name, note: namespace }))];
}
