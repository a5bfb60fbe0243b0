// The audits of the GraphQL-over-HTTP draft by the npm package graphql-http, against a server's endpoint.
// Usage: node audit.mjs http://127.0.0.1:8788/graphql
// Prints {"ok": n, "failed": ["name: reason", …]} and exits with 1 when one failed.
import { auditServer } from "graphql-http";

const results = await auditServer({ url: process.argv[2], fetchFn: fetch });
const failed = results.filter((result) => result.status !== "ok").map(({ name, reason }) => `${name}: ${reason}`);
console.log(JSON.stringify({ ok: results.length - failed.length, failed }));
process.exit(failed.length === 0 ? 0 : 1);
