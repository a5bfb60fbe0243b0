// What the scripts share: plain requests, a subscription's events one by one, and a payment.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import WebSocket from "ws";
import { createClient } from "graphql-ws";

export const url = process.argv[2];

// Before version 22 Node.js has no WebSocket of its own; Apollo Client asks for the global one.
globalThis.WebSocket ??= WebSocket;

/** A client of graphql-ws, and how its connections ended, one by one: it closes one whenever it has no subscription left. */
export function overWebSocket() {
  const ends = new Heard();
  const socket = createClient({ url: url.replace(/^http/, "ws"), on: { closed: ends.next } });
  const closes = async () => {
    const { code, wasClean } = await ends.event();
    assert.deepEqual({ code, wasClean }, { code: 1000, wasClean: true }, "the server does not close a WebSocket that its client closes");
  };
  return { socket, closes };
}

/** A request without any client: for what somebody else does. */
export async function ask(query, variables) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await answer.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}

/** Some clients give an error, others a list of them. */
const said = (errors) => [errors].flat().map((error) => error.message).join("; ");

/** What a subscription tells, in order: give `next` and `error` to a client, take `event()` or `failure()`. */
export class Heard {
  #told = [];
  #waiting = [];
  // Whoever takes: the oldest waiting one first.
  #tell(what) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(what);
    else this.#told.push(what);
  }
  next = (data) => this.#tell({ data });
  error = (error) => this.#tell({ error });
  complete = () => this.#tell({ error: new Error("the server ended the subscription") });

  async #take() {
    if (this.#told.length > 0) return this.#told.shift();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("nothing was told for ten seconds")), 10_000);
    });
    const told = new Promise((resolve) => this.#waiting.push(resolve));
    return Promise.race([told, late]).finally(() => clearTimeout(timer));
  }

  async event() {
    const { data, error } = await this.#take();
    if (error) throw new Error(`told of an error, not of a change: ${said(error)}`);
    return data;
  }

  /** The next event that is as wanted: an object may change in ways that a script does not wait for. */
  async until(wanted) {
    for (;;) {
      const data = await this.event();
      if (wanted(data)) return data;
    }
  }

  /** What the error says. */
  async failure() {
    const { data, error } = await this.#take();
    assert.ok(error, `told of a change, not of an error: ${JSON.stringify(data)}`);
    return said(error);
  }
}

export const CREATE = `mutation Create($input: CreateReceiptInput!) { createReceipt(input: $input) { receipt { id receiptId status } } }`;

/** A version that is on sale. */
export async function onSale() {
  const { assets } = await ask(`{ assets(first: 1, orderBy: NAME_ASC) { nodes { versionId } } }`);
  return assets.nodes[0].versionId;
}

/** Somebody else pays a receipt: a transaction with the outputs of its quote, and one input that is like no other. */
export async function pay(receiptId) {
  const { quotePayment } = await ask(
    `mutation Quote($input: QuotePaymentInput!) { quotePayment(input: $input) { quote { outputs { scriptHex amount } } } }`,
    { input: { receiptId } },
  );
  const byte = (number) => Buffer.from([number]).toString("hex");
  const outputs = quotePayment.quote.outputs.map(({ scriptHex, amount }) => {
    const satoshis = Buffer.alloc(8);
    satoshis.writeBigUInt64LE(BigInt(amount));
    return satoshis.toString("hex") + byte(scriptHex.length / 2) + scriptHex;
  });
  const input = `${randomBytes(32).toString("hex")}0000000000ffffffff`;
  const rawTx = `01000000${byte(1)}${input}${byte(outputs.length)}${outputs.join("")}00000000`;
  const { submitPayment } = await ask(
    `mutation Pay($input: SubmitPaymentInput!) { submitPayment(input: $input) { receipt { status } } }`,
    { input: { receiptId, rawTx } },
  );
  assert.equal(submitPayment.receipt.status, "PAID");
}
