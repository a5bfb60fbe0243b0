// Asks, pages, refetches, writes and subscribes with relay-runtime, with documents that relay-compiler made of the server's own schema:
// it refuses a schema that is not as Relay wants it.
// Usage: node relay.mjs http://127.0.0.1:8788/graphql
// The server must take whoever shows no identity for a developer (DEV_IDENTITY). Prints {"relay": […]}, the steps that went well, and
// exits with 1 at the first that did not.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import compiler from "relay-compiler";
import relay from "relay-runtime";
import { CREATE, Heard, ask, onSale, overWebSocket, pay, url } from "./common.mjs";

const { ConnectionHandler, Environment, Network, Observable, RecordSource, ROOT_ID, Store } = relay;

const DOCUMENTS = `
query relayPageQuery($first: Int!, $after: String) {
  assets(first: $first, after: $after, orderBy: NAME_ASC) @connection(key: "relay_assets") {
    edges { node { id versionId name } }
    totalCount
  }
}
fragment relayAsset on Asset @refetchable(queryName: "relayAssetQuery") { name license }
query relayPoliciesQuery {
  policies(first: 100) @connection(key: "relay_policies") { edges { node { id policyId name } } }
}
mutation relaySaveMutation($input: SavePolicyInput!, $connections: [ID!]!) {
  savePolicy(input: $input) { policy @appendNode(connections: $connections, edgeTypeName: "PolicyEdge") { id policyId name } }
}
query relayRefusedQuery { policy(policyId: "") @catch { id } }
query relayReceiptQuery($id: String!) { receipt(receiptId: $id) { id status } }
subscription relayReceiptSubscription($id: String!, $since: String) {
  receiptChanged(receiptId: $id, since: $since) { token gap receipt { id status } }
}`;

/** A function that gives a document's artifact by name. */
async function compiled() {
  const folder = mkdtempSync(join(tmpdir(), "overlay-relay-"));
  try {
    const schema = await fetch(new URL("/schema.graphql", url));
    writeFileSync(join(folder, "schema.graphql"), await schema.text());
    writeFileSync(join(folder, "relay.js"), `graphql\`${DOCUMENTS}\`;`);
    const config = { src: ".", schema: "schema.graphql", language: "javascript" };
    writeFileSync(join(folder, "relay.config.json"), JSON.stringify(config));
    execFileSync(compiler, ["relay.config.json"], { cwd: folder, stdio: "pipe" });
    const require = createRequire(join(folder, "relay.js"));
    const names = DOCUMENTS.match(/relay\w+(Query|Mutation|Subscription)/g);
    return Object.fromEntries(names.map((name) => [name, require(`./__generated__/${name}.graphql.js`)]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const documents = await compiled();
const steps = ["schema"];
const { socket } = overWebSocket();
const post = async ({ text: query }, variables) => {
  const headers = { "content-type": "application/json", accept: "application/graphql-response+json" };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify({ query, variables }) });
  return answer.json();
};
const subscribe = ({ text: query }, variables) =>
  Observable.create((sink) => socket.subscribe({ query, variables }, sink));
const environment = new Environment({ network: Network.create(post, subscribe), store: new Store(new RecordSource()) });
/** Asks the server, and puts the answer into the store. */
const fetched = (name, variables) => relay.fetchQuery(environment, documents[name], variables).toPromise();
/** What the store holds of a query's answer. It is kept there, because it is looked at. */
function kept(name, variables) {
  const operation = relay.createOperationDescriptor(relay.getRequest(documents[name]), variables);
  environment.retain(operation);
  return environment.lookup(operation.fragment);
}

let { assets } = await fetched("relayPageQuery", { first: 25 });
assert.equal(assets.edges.length, 25);
steps.push("query");

const catalogue = () => kept("relayPageQuery", { first: 25 }).data.assets;
while (catalogue().pageInfo.hasNextPage) {
  await fetched("relayPageQuery", { first: 25, after: catalogue().pageInfo.endCursor });
}
const all = catalogue();
assert.equal(all.edges.length, all.totalCount);
assert.equal(new Set(all.edges.map(({ node }) => node.versionId)).size, all.totalCount);
steps.push("paging");

const { id, name } = all.edges.at(-1).node;
const again = await fetched("relayAssetQuery", { id });
assert.equal(again.node.__id, id);
const asset = environment.getStore().getSource().get(id);
assert.equal(asset.name, name);
// The pages did not ask for it.
const { asset: same } = await ask(`query Same($id: Hex32!) { asset(versionId: $id) { license } }`, { id: asset.versionId });
assert.equal(asset.license, same.license);
steps.push("refetch by id");

await fetched("relayPoliciesQuery", {});
const policies = () => kept("relayPoliciesQuery", {}).data.policies.edges.map(({ node }) => [node.policyId, node.name]);
const before = policies();
const save = (name) =>
  new Promise((resolve, reject) => {
    const connections = [ConnectionHandler.getConnectionID(ROOT_ID, "relay_policies")];
    const input = { policyId: "relay", name, document: { minConfs: 2 } };
    const done = (data, errors) => (errors ? reject(new Error(errors[0].message)) : resolve(data));
    const mutation = documents.relaySaveMutation;
    relay.commitMutation(environment, { mutation, variables: { input, connections }, onCompleted: done, onError: reject });
  });
for (const name of ["By Relay", "By Relay again"]) {
  const { savePolicy } = await save(name);
  assert.equal(savePolicy.policy.name, name);
  // It is put to the list, once, and is changed there.
  const others = before.filter(([policyId]) => policyId !== "relay");
  assert.deepEqual(policies().filter(([policyId]) => policyId !== "relay"), others);
  assert.deepEqual(policies().filter(([policyId]) => policyId === "relay"), [["relay", name]]);
  const { policy } = await ask(`{ policy(policyId: "relay") { name } }`);
  assert.equal(policy.name, name);
}
steps.push("mutation");
const { policy: refused } = await fetched("relayRefusedQuery", {});
assert.deepEqual(refused, { ok: false, errors: [{ extensions: { code: "BAD_REQUEST", hint: "policyId" } }] });
steps.push("error");

// What an event says of an object reaches whoever watches the object.
const { createReceipt } = await ask(CREATE, { input: { versionId: await onSale() } });
const { receiptId } = createReceipt.receipt;
await fetched("relayReceiptQuery", { id: receiptId });
const watched = new Heard();
const receipt = kept("relayReceiptQuery", { id: receiptId });
assert.equal(receipt.data.receipt.status, "PENDING");
environment.subscribe(receipt, ({ data }) => watched.next(data.receipt.status));
const { changeToken } = await ask(`{ changeToken }`);
const heard = new Heard();
const events = relay.requestSubscription(environment, {
  subscription: documents.relayReceiptSubscription,
  variables: { id: receiptId, since: changeToken },
  onNext: heard.next,
  onError: heard.error,
});
await pay(receiptId);
await heard.until(({ receiptChanged }) => receiptChanged.receipt.status === "PAID");
assert.equal(await watched.event(), "PAID");
events.dispose();
steps.push("subscription");

console.log(JSON.stringify({ relay: steps }));
process.exit(0);
