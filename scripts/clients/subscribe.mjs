// Subscribes with Apollo Client and urql over graphql-ws, and with graphql-sse, and changes what they watch.
// Usage: node subscribe.mjs http://127.0.0.1:8788/graphql
// The server must take whoever shows no identity for a developer (DEV_IDENTITY). Prints {"apollo": […], "urql": […], "sse": […]}, the
// steps that went well, and exits with 1 at the first that did not.
import assert from "node:assert/strict";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { OperationTypeNode } from "graphql";
import { createClient as overEvents } from "graphql-sse";
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { CREATE, Heard, ask, onSale, overWebSocket, pay, url } from "./common.mjs";

const ADVISORIES = `subscription Advisories($since: String) {
  advisoryIssued(since: $since) { token gap advisoryId advisory { advisoryId type reason } }
}`;
const ISSUE = `mutation Issue($input: IssueAdvisoryInput!) { issueAdvisory(input: $input) { advisory { advisoryId } } }`;
const WITHDRAW = `mutation Withdraw($input: WithdrawAdvisoryInput!) { withdrawAdvisory(input: $input) { advisoryId } }`;
const RECEIPT = `query Receipt($id: String!) { receipt(receiptId: $id) { id receiptId status } }`;
const RECEIPTS = `subscription Receipts($id: String!, $since: String) { receiptChanged(receiptId: $id, since: $since) { token gap receipt { id status } } }`;

/** What every client must be told. `subscribe(text, variables)` answers `{heard, stop}`, `mutate(text, variables)` the data. */
async function follows(subscribe, mutate) {
  const steps = [];
  const { changeToken } = await ask(`{ changeToken }`);
  const versionIds = [await onSale()];
  const issue = async (reason) => {
    const { issueAdvisory } = await mutate(ISSUE, { input: { type: "WARN", reason, versionIds } });
    return issueAdvisory.advisory.advisoryId;
  };
  const watching = subscribe(ADVISORIES, { since: changeToken });
  const advisoryId = await issue("looked at");
  const issued = (await watching.heard.event()).advisoryIssued;
  assert.equal(issued.gap, null);
  assert.equal(issued.advisoryId, advisoryId);
  assert.deepEqual({ ...issued.advisory, __typename: "Advisory" }, { __typename: "Advisory", advisoryId, type: "WARN", reason: "looked at" });
  steps.push("change");
  await mutate(WITHDRAW, { input: { advisoryId } });
  const withdrawn = (await watching.heard.event()).advisoryIssued;
  assert.equal(withdrawn.advisoryId, advisoryId);
  assert.equal(withdrawn.advisory, null);
  steps.push("withdrawal");
  watching.stop();
  const missed = await issue("missed");
  const again = subscribe(ADVISORIES, { since: withdrawn.token });
  const told = (await again.heard.event()).advisoryIssued;
  assert.equal(told.advisoryId, missed);
  assert.equal(told.advisory.reason, "missed");
  await mutate(WITHDRAW, { input: { advisoryId: missed } });
  assert.equal((await again.heard.event()).advisoryIssued.advisory, null);
  again.stop();
  steps.push("going on after a break");
  const wrong = subscribe(ADVISORIES, { since: "yesterday" });
  assert.match(await wrong.heard.failure(), /since/);
  steps.push("error");
  return steps;
}

async function apollo() {
  const { socket, closes } = overWebSocket();
  const byKind = ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION;
  const client = new ApolloClient({
    link: ApolloLink.split(byKind, new GraphQLWsLink(socket), new HttpLink({ uri: url })),
    cache: new InMemoryCache(),
  });
  const subscribe = (text, variables) => {
    const heard = new Heard();
    const told = ({ data, error }) => (error ? heard.error(error) : heard.next(data));
    const subscription = client.subscribe({ query: gql(text), variables }).subscribe({ ...heard, next: told });
    return { heard, stop: () => subscription.unsubscribe() };
  };
  const mutate = async (text, variables) => (await client.mutate({ mutation: gql(text), variables })).data;
  const steps = await follows(subscribe, mutate);
  // What an event says of an object reaches whoever watches the object.
  const created = await mutate(CREATE, { input: { versionId: await onSale() } });
  const { receiptId } = created.createReceipt.receipt;
  const watched = new Heard();
  const query = client.watchQuery({ query: gql(RECEIPT), variables: { id: receiptId } });
  query.subscribe(({ data, dataState }) => dataState === "complete" && watched.next(data.receipt.status));
  assert.equal(await watched.event(), "PENDING");
  const { changeToken } = await ask(`{ changeToken }`);
  const events = subscribe(RECEIPTS, { id: receiptId, since: changeToken });
  await pay(receiptId);
  await events.heard.until(({ receiptChanged }) => receiptChanged.receipt.status === "PAID");
  assert.equal(await watched.event(), "PAID");
  events.stop();
  steps.push("cache");
  await closes();
  steps.push("close");
  return steps;
}

async function urql() {
  const { socket, closes } = overWebSocket();
  const forward = ({ query, variables }) => ({
    subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
  });
  const client = (enableAllOperations) =>
    new Client({
      url,
      preferGetMethod: false,
      exchanges: [subscriptionExchange({ forwardSubscription: forward, enableAllOperations }), fetchExchange],
    });
  const subscribing = client(false);
  const subscribe = (text, variables) => {
    const heard = new Heard();
    const told = ({ data, error }) => (error ? heard.error(error) : heard.next(data));
    const { unsubscribe } = subscribing.subscription(text, variables).subscribe(told);
    return { heard, stop: unsubscribe };
  };
  const mutating = (client) => async (text, variables) => {
    const { data, error } = await client.mutation(text, variables).toPromise();
    assert.equal(error, undefined);
    return data;
  };
  const steps = await follows(subscribe, mutating(subscribing));
  const all = client(true);
  const created = await mutating(all)(CREATE, { input: { versionId: await onSale() } });
  const { id, receiptId, status } = created.createReceipt.receipt;
  assert.equal(status, "PENDING");
  const read = await all.query(RECEIPT, { id: receiptId }).toPromise();
  assert.equal(read.data.receipt.id, id);
  steps.push("query and mutation");
  await closes();
  steps.push("close");
  return steps;
}

async function sse() {
  const client = overEvents({ url, singleConnection: false, retryAttempts: 0 });
  const run = (query, variables) => {
    const heard = new Heard();
    const told = ({ data, errors }) => (errors ? heard.error(errors) : heard.next(data));
    return { heard, stop: client.subscribe({ query, variables }, { ...heard, next: told }) };
  };
  const steps = await follows(run, async (text, variables) => run(text, variables).heard.event());
  const { createReceipt } = await ask(CREATE, { input: { versionId: await onSale() } });
  const { receiptId } = createReceipt.receipt;
  const query = run(RECEIPT, { id: receiptId });
  assert.equal((await query.heard.event()).receipt.status, "PENDING");
  assert.match(await query.heard.failure(), /ended/);
  steps.push("query that ends");
  client.dispose();
  return steps;
}

console.log(JSON.stringify({ apollo: await apollo(), urql: await urql(), sse: await sse() }));
process.exit(0);
