// Asks, pages, writes and persists queries with the stock clients Apollo Client and urql, as a front end would.
// Usage: node stock.mjs http://127.0.0.1:8788/graphql
// The server must take whoever shows no identity for a developer (DEV_IDENTITY). Prints {"apollo": […], "urql": […]}, the steps that
// went well, and exits with 1 at the first that did not.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { relayStylePagination } from "@apollo/client/utilities";
import { Client, cacheExchange, fetchExchange } from "@urql/core";

const url = process.argv[2];
const PAGE = `query Page($first: Int!, $after: String) {
  assets(first: $first, after: $after, orderBy: NAME_ASC) {
    edges { cursor node { id versionId name producer { id name } } }
    pageInfo { hasNextPage endCursor }
    totalCount
  }
}`;
const SAVE = `mutation Save($input: SavePolicyInput!) { savePolicy(input: $input) { policy { id policyId name } } }`;
const POLICY = `query Policy($id: String!) { policy(policyId: $id) { id policyId name } }`;
const saved = (name) => ({ input: { policyId: "clients", name, document: { minConfs: 2 } } });

/** All pages, one after another, hold every asset once, by name. */
function wholeCatalogue(edges, total) {
  const ids = new Set(edges.map((edge) => edge.node.versionId));
  assert.equal(ids.size, total);
  assert.equal(edges.length, total);
}

async function apollo() {
  const steps = [];
  const sent = [];
  const counting = (input, init) => {
    sent.push(init.body ? JSON.parse(init.body) : Object.fromEntries(new URL(input).searchParams));
    return fetch(input, init);
  };
  const sha256 = (text) => createHash("sha256").update(text).digest("hex");
  const client = new ApolloClient({
    link: new PersistedQueryLink({ sha256 }).concat(new HttpLink({ uri: url, fetch: counting })),
    cache: new InMemoryCache({ typePolicies: { Query: { fields: { assets: relayStylePagination(["orderBy"]) } } } }),
  });
  const observable = client.watchQuery({ query: gql(PAGE), variables: { first: 25 } });
  // A query that nobody watches is not kept up to date.
  const watching = observable.subscribe(() => {});
  const first = await client.query({ query: gql(PAGE), variables: { first: 25 } });
  assert.equal(first.data.assets.edges.length, 25);
  steps.push("query");
  let page = first.data.assets;
  while (page.pageInfo.hasNextPage) {
    const more = await observable.fetchMore({ variables: { after: page.pageInfo.endCursor } });
    page = more.data.assets;
  }
  const all = client.readQuery({ query: gql(PAGE), variables: { first: 25 } }).assets;
  wholeCatalogue(all.edges, all.totalCount);
  watching.unsubscribe();
  steps.push("paging");
  // The first request names the document by its hash alone, the second says it, and from then on the hash does.
  assert.equal(sent[0].query, undefined);
  assert.ok(sent[1].query.includes("query Page"));
  assert.ok(sent.length > 3 && sent.slice(2).every((request) => request.query === undefined));
  steps.push("persisted queries");
  for (const name of ["By Apollo", "By Apollo again"]) {
    const changed = await client.mutate({ mutation: gql(SAVE), variables: saved(name) });
    assert.equal(changed.data.savePolicy.policy.name, name);
    const read = await client.query({ query: gql(POLICY), variables: { id: "clients" }, fetchPolicy: "network-only" });
    assert.equal(read.data.policy.name, name);
  }
  steps.push("mutation");
  await assert.rejects(client.query({ query: gql(`{ policy(policyId: "") { id } }`) }), /policyId/);
  steps.push("error");
  return steps;
}

async function urql() {
  const steps = [];
  const client = new Client({ url, exchanges: [cacheExchange, fetchExchange], preferGetMethod: false });
  let edges = [];
  let after;
  let total;
  do {
    const { data, error } = await client.query(PAGE, { first: 30, after }).toPromise();
    assert.equal(error, undefined);
    edges = edges.concat(data.assets.edges);
    total = data.assets.totalCount;
    after = data.assets.pageInfo.hasNextPage ? data.assets.pageInfo.endCursor : undefined;
  } while (after);
  steps.push("query");
  wholeCatalogue(edges, total);
  steps.push("paging");
  const changed = await client.mutation(SAVE, saved("By urql")).toPromise();
  assert.equal(changed.data.savePolicy.policy.name, "By urql");
  const read = await client.query(POLICY, { id: "clients" }).toPromise();
  assert.equal(read.data.policy.name, "By urql");
  steps.push("mutation");
  const link = new Client({ url, exchanges: [fetchExchange], preferGetMethod: "force" });
  const got = await link.query(POLICY, { id: "clients" }).toPromise();
  assert.equal(got.data.policy.name, "By urql");
  steps.push("query by link");
  const wrong = await client.query(`{ policy(policyId: "") { id } }`, {}).toPromise();
  assert.equal(wrong.error.graphQLErrors[0].extensions.code, "BAD_REQUEST");
  steps.push("error");
  return steps;
}

console.log(JSON.stringify({ apollo: await apollo(), urql: await urql() }));
process.exit(0);
