// A Chromium to which no other host is there, and what must not happen in it at any time.
import assert from "node:assert/strict";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import puppeteer from "puppeteer-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

function found() {
  const paths = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * A page in a new browser, beside a server's address: `{origin, page, sent, steps, went}`. `sent` are the frames sent over WebSockets;
 * `went(step)` notes a step in `steps`, and fails when anything went wrong in the page until then. Where there is no Chromium, says so
 * and ends the process.
 */
export async function open(address) {
  const { origin, hostname } = new URL(address);
  const executablePath = found();
  if (!executablePath) {
    console.log(JSON.stringify({ "not run": `none of ${NAMES.join(", ")} is installed` }));
    process.exit(0);
  }
  // No name but the server's own leads anywhere.
  const offline = `--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE ${hostname}`;
  const userDataDir = mkdtempSync(join(tmpdir(), "overlay-browser-"));
  const browser = await puppeteer.launch({ executablePath, userDataDir, args: ["--no-sandbox", offline] });
  // However it ends.
  process.on("exit", () => {
    browser.process().kill("SIGKILL");
    rmSync(userDataDir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  });
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  await page.setViewport({ width: 1400, height: 900 });
  const faults = [];
  const sent = [];
  page.on("request", (request) => {
    const { protocol, origin: to } = new URL(request.url());
    if (protocol !== "data:" && protocol !== "blob:" && to !== origin) faults.push(`asked for ${request.url()}`);
  });
  page.on("requestfailed", (request) => faults.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("response", (response) => response.status() >= 400 && faults.push(`${response.url()}: ${response.status()}`));
  page.on("pageerror", (error) => faults.push(`${error}`));
  page.on("console", (message) => message.type() === "error" && faults.push(`console: ${message.text()}`));
  await page.evaluateOnNewDocument(() =>
    document.addEventListener("securitypolicyviolation", (event) => console.error(`${event.violatedDirective} forbids ${event.blockedURI}`)),
  );
  const devtools = await page.createCDPSession();
  await devtools.send("Network.enable");
  devtools.on("Network.webSocketCreated", ({ url }) => url === `${origin.replace("http", "ws")}/graphql` || faults.push(`opened ${url}`));
  devtools.on("Network.webSocketFrameSent", ({ response }) => sent.push(response.payloadData));
  const steps = [];
  const went = (step) => {
    assert.deepEqual(faults, [], `at the step: ${step}`);
    steps.push(step);
  };
  return { origin, page, sent, steps, went };
}
