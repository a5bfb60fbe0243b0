// Uses the query page at / in Chromium as a person would, without any other host being there.
// Usage: node graphiql.mjs http://127.0.0.1:8788
// The server must hold the demo market, and take whoever shows no identity for a developer (DEV_IDENTITY). Prints the list of the steps
// that went well, or {"not run": why} where there is no Chromium, and exits with 1 at the first step that did not go well.
import assert from "node:assert/strict";
import { open } from "./browser.mjs";

/** What the answer of each example tab must hold. */
const TABS = {
  NewestAssets: ({ assets }) => {
    assert.ok(assets.totalCount >= 71, "the demo market has 71 versions");
    assert.equal(assets.nodes.length, 5);
    assert.ok(assets.nodes.every((node) => node.name && node.producer.name));
  },
  Search: ({ search }) => assert.ok(search.nodes.some((node) => node.name === "Gridded hourly weather 2025")),
  Producers: ({ producers }) => assert.ok(producers.nodes.length === 5 && producers.nodes.every((node) => node.assets.totalCount > 0)),
  Readiness: ({ asset }) => {
    assert.equal(asset.name, "Household load, hourly");
    assert.deepEqual(asset.parents, [{ name: "Smart meter readings, raw" }]);
    assert.equal(typeof asset.readiness.ready, "boolean");
  },
  Buy: ({ createReceipt: { receipt } }) => assert.deepEqual([receipt.status, receipt.quantity], ["PENDING", 2]),
};

const { origin, page, sent, steps, went } = await open(process.argv[2]);

const button = (label) => page.waitForSelector(`button[aria-label="${label}"]`).then((element) => element.click());
const text = (selector) => page.$eval(selector, (element) => element.innerText);
/** What stands in an editor, as CodeMirror has it: not all of it is on the page. */
const written = (selector) => page.$eval(`${selector} .CodeMirror`, (element) => element.CodeMirror.getValue());
const shows = (selector, word) =>
  page
    .waitForFunction((selector, word) => document.querySelector(selector)?.innerText.includes(word), {}, selector, word)
    .catch(() => assert.fail(`${selector} does not show ${word}`));

async function choose(tab) {
  const tabs = await page.$$(".graphiql-tab-button");
  await tabs[await page.$$eval(".graphiql-tab-button", (all, tab) => all.findIndex((one) => one.textContent === tab), tab)].click();
  // It reads the query a moment after it shows it.
  const read = (tab) => document.querySelector(".graphiql-query-editor .CodeMirror").CodeMirror.operationName === tab;
  await page.waitForFunction(read, {}, tab).catch(() => assert.fail(`the tab ${tab} does not get ready`));
}

/** What the result pane shows once it shows anything. */
async function result() {
  const full = () => document.querySelector(".result-window .CodeMirror").CodeMirror.getValue() !== "";
  await page.waitForFunction(full).catch(() => assert.fail("the result pane stays empty"));
  const { data, errors } = JSON.parse(await written(".result-window"));
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}

/** A request beside the page, as somebody else would send it. */
async function ask(query, variables) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${origin}/graphql`, { method: "POST", headers, body: JSON.stringify({ query, variables }) });
  const { data, errors } = await answer.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}

await page.goto(origin, { waitUntil: "load" });
await page.waitForSelector(".graphiql-execute-button").catch(() => assert.fail("no query page: run scripts/pages/fetch, and build again"));
const names = await page.$$eval(".graphiql-tab-button", (tabs) => tabs.map((tab) => tab.textContent));
assert.deepEqual(names, [...Object.keys(TABS), "Advisories"]);
went("page");

for (const [index, [tab, holds]] of Object.entries(TABS).entries()) {
  await choose(tab);
  assert.equal(await written(".result-window"), "", "nothing is run before it is asked for");
  if (index === 0) {
    await page.click(".graphiql-query-editor .CodeMirror-line");
    await page.keyboard.down("Control");
    await page.keyboard.press("Enter");
    await page.keyboard.up("Control");
  } else {
    await page.click(".graphiql-execute-button");
  }
  holds(await result());
  went(tab);
}

await choose("Advisories");
await page.click(".graphiql-execute-button");
const { assets } = await ask("{ assets(first: 1, orderBy: NAME_ASC) { nodes { versionId } } }");
// It is told of what happens from now on, and nothing says when now is: so something happens until it is told.
const telling = setInterval(async () => {
  const input = { type: "WARN", reason: "Seen in a browser", versionIds: [assets.nodes[0].versionId] };
  const { issueAdvisory } = await ask(
    "mutation Issue($input: IssueAdvisoryInput!) { issueAdvisory(input: $input) { advisory { advisoryId } } }",
    { input },
  );
  await ask("mutation Withdraw($input: WithdrawAdvisoryInput!) { withdrawAdvisory(input: $input) { advisoryId } }", {
    input: issueAdvisory.advisory,
  });
}, 500);
const told = (await result()).advisoryIssued;
clearInterval(telling);
assert.match(told.advisoryId, /^adv_/);
assert.equal(told.gap, null);
assert.ok(sent.some((frame) => JSON.parse(frame).type === "subscribe"), "it is told over a WebSocket");
await button("Stop query (Ctrl-Enter)");
await page.waitForSelector('button[aria-label="Execute query (Ctrl-Enter)"]');
went("Advisories");

await choose("NewestAssets");
await page.$$eval(".graphiql-editor-tools button", (all) => all.find((one) => one.textContent === "Headers").click());
await page.$$eval(".graphiql-editor-tool .CodeMirror", (all) =>
  all.at(-1).CodeMirror.setValue(JSON.stringify({ "Overlay-Consistency": "strong" })),
);
const asking = page.waitForRequest(`${origin}/graphql`);
await page.click(".graphiql-execute-button");
assert.equal((await asking).headers()["overlay-consistency"], "strong");
TABS.NewestAssets(await result());
went("headers");

await button("Show Documentation Explorer");
await shows(".graphiql-doc-explorer", "Query");
await page.$$eval(".graphiql-doc-explorer a", (all) => all.find((one) => one.textContent === "Query").click());
await shows(".graphiql-doc-explorer", "changeToken");
went("documentation");

await button("Show History");
for (const tab of [...Object.keys(TABS), "Advisories"]) await shows(".graphiql-history", tab);
went("history");

await button("Show GraphiQL Explorer");
await shows(".graphiql-explorer-root", "changeToken");
await page.$$eval(".graphiql-explorer-root .graphiql-explorer-field-view", (all) =>
  all.find((one) => one.textContent === "changeToken").click(),
);
const added = () => document.querySelector(".graphiql-query-editor .CodeMirror").CodeMirror.getValue().includes("changeToken");
await page.waitForFunction(added).catch(() => assert.fail("a field that is chosen in the explorer does not get into the query"));
went("explorer");

const link = await page.$eval(".graphiql-logo a", (element) => element.href);
assert.match(await (await fetch(link)).text(), /^type Query/m);
went("link to the schema");

console.log(JSON.stringify(steps));
process.exit(0);
