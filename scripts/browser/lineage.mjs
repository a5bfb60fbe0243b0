// Walks the picture of lineage at /lineage in Chromium as a person would, with the mouse and with the keyboard, without any other host
// being there.
// Usage: node lineage.mjs http://127.0.0.1:8788 < JSON
// The server must hold the demo market. The JSON: `{start, hub, hostile, forged, image?}`: a node of the catalogue, one with more
// neighbours than are drawn, one whose name is markup, one that a thousand jobs made of one whose name looks like a badge, and where a
// picture of the screen is put. Prints the list of the steps that went well, or {"not run": why} where there
// is no Chromium, and exits with 1 at the first step that did not go well.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { open } from "./browser.mjs";

const { start, hub, hostile, forged, image } = JSON.parse(readFileSync(0, "utf8"));
const { origin, page, went, steps } = await open(process.argv[2]);

/** What the page's own functions see. */
const graph = (ask, ...given) => page.evaluate(`(${ask})(document.getElementById("graph")._cyreg.cy, ...${JSON.stringify(given)})`);
const count = () => graph((cy) => [cy.nodes().length, cy.edges().length]);
const chosen = () => graph((cy) => cy.nodes(".chosen").map((node) => node.id())[0]);
const name = () => page.$eval("#details h2", (element) => element.innerText);
const until = (what, holds, ...given) => page.waitForFunction(holds, {}, ...given).catch(() => assert.fail(`never: ${what}`));
const said = (words) => until(`the page says ${words}`, (words) => document.getElementById("status").innerText.includes(words), words);
const at = (node, more = {}) => `${origin}/lineage?${new URLSearchParams({ node, ...more })}`;
const badges = () => page.$$eval("#details .badge", (all) => all.map((one) => one.innerText));

await page.goto(`${origin}/lineage`, { waitUntil: "load" });
await until("the newest", () => document.querySelectorAll("#details li a").length > 0);
went("the newest of the catalogue");

await page.keyboard.press("/");
await page.keyboard.type("household load");
await page.keyboard.press("Enter");
await until("what was found", () => document.querySelector("#details h2").innerText.startsWith("Found for"));
assert.equal(await page.$eval("#details li a", (link) => link.innerText), "Household load, hourly");
const [found] = await page.$$("#details li a");
await Promise.all([page.waitForNavigation(), found.click()]);
await said("datasets");
assert.equal(await name(), "Household load, hourly");
went("search");

await page.goto(at(start, { depth: 1 }), { waitUntil: "load" });
await said("datasets");
const [before] = await count();
assert.equal(await graph((cy, start) => cy.nodes("[?isStart]").id() === start, start), true);
assert.equal(await page.evaluate(() => document.activeElement.id), "graph");
went("graph");

await until("readiness", () => [...document.querySelectorAll("#details .badge")].some((badge) => /^(not )?ready/.test(badge.innerText)));
assert.ok((await badges()).some((badge) => /^(not proven|proven · \d+ confirmations)$/.test(badge)), `${await badges()}`);
assert.ok((await badges()).includes("anchored"), `${await badges()}`);
assert.equal(await graph((cy) => cy.edges("[standing = 'anchored']").length > 0), true);
await until("labels", () => document.getElementById("graph")._cyreg.cy.nodes("[?asset]").every((node) => /ready/.test(node.data("label"))));
went("badges");

// What was drawn: the colour of each dataset is where it is said to be.
const png = await page.screenshot({ encoding: "base64" });
if (image) writeFileSync(image, png, "base64");
const drawn = await page.evaluate(async (png) => {
  const cy = document.getElementById("graph")._cyreg.cy;
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  canvas.drawImage(bitmap, 0, 0);
  const { left, top } = document.getElementById("graph").getBoundingClientRect();
  return cy.nodes().map((node) => {
    const { x1, y1 } = node.renderedBoundingBox({ includeLabels: false, includeOverlays: false });
    const inset = 10 * cy.zoom();
    const pixel = [...canvas.getImageData(left + x1 + inset, top + y1 + inset, 1, 1).data].slice(0, 3);
    const style = node.style("background-color").match(/\d+/g).map(Number);
    return { label: node.data("label"), pixel, style };
  });
}, png);
assert.ok(drawn.length === before && drawn.every(({ pixel, style }) => pixel.every((part, index) => Math.abs(part - style[index]) < 4)), JSON.stringify(drawn));
assert.ok(drawn.length > 1 && drawn.every(({ pixel }) => `${pixel}` !== "255,255,255"), "it is not the bare background");
went("screenshot");

await page.keyboard.press("ArrowLeft");
const parent = await chosen();
assert.notEqual(parent, start);
assert.equal(await graph((cy, from, to) => cy.getElementById(to).incomers("node").map((node) => node.id()).includes(from), parent, start), true);
await page.keyboard.press("ArrowRight");
assert.notEqual(await chosen(), parent);
await page.keyboard.press("Home");
assert.equal(await chosen(), start);
await page.keyboard.press("ArrowRight");
await page.keyboard.press("Enter");
await until("more datasets", (before) => document.getElementById("graph")._cyreg.cy.nodes().length > before, before);
went("keyboard");

await page.keyboard.press("Space");
assert.equal(await page.evaluate(() => document.activeElement.id), "details");
await page.keyboard.press("Tab");
assert.equal(await page.evaluate(() => document.activeElement.innerText), "Show neighbours");
await page.keyboard.press("Escape");
assert.equal(await page.evaluate(() => document.activeElement.id), "graph");
went("keyboard in the details");

// With the mouse.
await page.keyboard.press("0");
const shown = (await count())[0];
const point = await graph((cy) => {
  const node = cy.nodes("[?more]")[0];
  const { left, top } = document.getElementById("graph").getBoundingClientRect();
  const { x, y } = node.renderedPosition();
  return { x: left + x, y: top + y, id: node.id() };
});
await page.mouse.click(point.x, point.y);
await until("more datasets", (before) => document.getElementById("graph")._cyreg.cy.nodes().length > before, shown);
assert.equal(await chosen(), point.id);
went("click");

await until("facets", () => document.querySelectorAll("#details .rest details").length > 0);
await page.click("#details .rest summary");
assert.equal(await page.$eval("#details .rest details", (element) => element.open && JSON.parse(element.querySelector("pre").innerText) !== null), true);
went("facets");

await page.goto(at(hub, { depth: 1, direction: "down" }), { waitUntil: "load" });
await said("Left out: 102 datasets");
assert.equal((await count())[0], 300);
await page.keyboard.press("Enter");
await until("the next", () => document.getElementById("graph")._cyreg.cy.nodes().length > 300);
went("more than is drawn at once");

// What others sent is text.
await page.goto(at(hostile, { depth: 1 }), { waitUntil: "load" });
await said("dataset");
await until("facets", () => document.querySelectorAll("#details .rest details").length > 0);
assert.ok((await page.$eval("#details", (element) => element.innerText)).includes("<img src=x onerror=alert(1)>"));
assert.equal(await page.$$eval("#details img, #details script", (all) => all.length), 0);
const [edge] = await page.$$eval("#details li button", (all) => all.map((one, at) => [one.innerText, at]).filter(([text]) => text === "columns: job"));
await (await page.$$("#details li button"))[edge[1]].click();
await until("columns", () => document.getElementById("details").innerText.includes("a → b"));
went("a job, its columns, and names that are markup");

// A thousand jobs between two datasets are one edge; and no name looks like a badge.
await page.goto(at(forged, { depth: 1, direction: "up" }), { waitUntil: "load" });
await said("2 datasets, 1 edge.");
const [label] = await graph((cy) => cy.nodes("[!isStart]").map((node) => node.data("label")));
assert.ok(label.startsWith("Load\ufffd") && !/[\n✓]/.test(label), label);
await page.$$eval("#details li button", (all) => all.find((one) => one.innerText === "1000 jobs").click());
await until("the first of the jobs", () => document.querySelector("#details .rest h3")?.innerText === "job-0");
assert.equal((await page.$$("#details ul:first-of-type li")).length, 201);
await page.$$eval("#details li button", (all) => all.find((one) => one.innerText === "job-1").click());
await until("the second of the jobs", () => document.querySelector("#details .rest h3")?.innerText === "job-1");
await page.$$eval("#details p button", (all) => all[1].click());
// Only what it is made of was looked for.
assert.ok((await page.$eval("#details", (element) => element.innerText)).includes("Nothing that is shown."));
await page.$$eval("#details p button", (all) => all.find((one) => one.innerText === "Show neighbours").click());
await until("all of it", () => /Made into\s+Nothing\.\s/.test(document.getElementById("details").innerText));
went("very many jobs, and a name like a badge");

await page.keyboard.press("Escape");
await page.keyboard.press("+");
assert.equal(await graph((cy) => cy.$(".chosen").length), 1, "keys choose nothing by themselves");

await page.goto(at(start, { depth: 99 }), { waitUntil: "load" });
await said("`depth` must be a whole number, 0 to 10");
await page.goto(at("dataset:nowhere"), { waitUntil: "load" });
await said("must name a namespace");
went("what is no question");

await page.goto(at("dataset:nowhere:nothing"), { waitUntil: "load" });
await said("No event names dataset:nowhere:nothing.");
went("nothing there");

console.log(JSON.stringify(steps));
process.exit(0);
