// The requests of a run on one time line: a table whose last column is drawn, and said in words to those who do not see it.

import { h, s } from "./dom.js";
import { bytes, duration } from "./format.js";

const WIDTH = 1000;
const PHASES = [
  ["before", "Redirects and waiting"],
  ["lookup", "Name lookup"],
  ["connect", "Connect"],
  ["tls", "TLS"],
  ["first", "First byte"],
  ["transfer", "Transfer"],
];

/** How the time of a request was spent: pairs of a phase and its milliseconds. */
export function phases(request) {
  const { phases: at, duration_ms: all } = request;
  if (!at) return [["before", all]];
  // libcurl's times are from the beginning, each with those before it; those of phases that were left out are zero.
  const lookup = at.name_lookup_ms;
  const connect = Math.max(lookup, at.connect_ms);
  const tls = Math.max(connect, at.secure_connect_ms);
  const first = Math.max(tls, at.first_byte_ms);
  const total = Math.max(first, at.total_ms);
  const parts = [
    ["before", Math.max(0, all - total)],
    ["lookup", lookup],
    ["connect", connect - lookup],
    ["tls", tls - connect],
    ["first", first - tls],
    ["transfer", total - first],
  ];
  return parts.filter(([name, ms]) => ms > (name === "before" ? 1 : 0));
}

/** The table, with `set(requests)`. */
export function waterfall() {
  const body = h("tbody", { role: "rowgroup" });
  const scale = h("span", { class: "scale", "aria-hidden": "true" });
  const key = h("ul", { class: "key", "aria-hidden": "true" });
  const head = (name, ...rest) => h("th", { role: "columnheader", scope: "col", class: name }, ...rest);
  const table = h(
    "table",
    { class: "waterfall", role: "table" },
    h("caption", { class: "hidden" }, "HTTP requests of the script, in the order in which they began"),
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row" },
        head("what", "Request"),
        head("status", "Status"),
        head("number", "Size"),
        head("number", "Start"),
        head("number", "Time"),
        head("bars", h("span", { class: "hidden" }, "Time line"), scale),
      ),
    ),
    body,
  );
  const element = h("div", { class: "fall" }, table, key);
  element.set = (requests) => {
    const sorted = [...requests].sort((a, b) => a.start_ms - b.start_ms);
    const end = Math.max(1, ...sorted.map((request) => request.start_ms + request.duration_ms));
    const used = new Set();
    body.replaceChildren(...sorted.map((request) => row(request, end, used)));
    scale.replaceChildren(h("span", {}, "0"), h("span", {}, duration(end / 2)), h("span", {}, duration(end)));
    const named = PHASES.filter(([name]) => used.has(name));
    key.replaceChildren(...named.map(([name, label]) => h("li", {}, s("svg", { class: "swatch", viewBox: "0 0 10 10" }, s("rect", { class: `phase ${name}`, width: 10, height: 10 })), label)));
  };
  return element;
}

function row(request, end, used) {
  const parts = phases(request);
  let x = (request.start_ms / end) * WIDTH;
  const bars = parts.map(([name, ms]) => {
    used.add(name);
    // What is too short to be seen is seen nevertheless.
    const width = Math.max(3, (ms / end) * WIDTH);
    const bar = s("rect", { class: `phase ${name}`, x: Math.min(x, WIDTH - width), y: 2, width, height: 12 });
    x += (ms / end) * WIDTH;
    return bar;
  });
  const words = parts.map(([name, ms]) => `${PHASES.find(([phase]) => phase === name)[1]} ${duration(ms)}`).join(", ");
  const failed = request.error || request.status >= 400;
  const cell = (name, ...rest) => h("td", { role: "cell", class: name }, ...rest);
  return h(
    "tr",
    { role: "row" },
    h(
      "th",
      { role: "rowheader", scope: "row", class: "what" },
      h("span", { class: "method" }, request.method),
      " ",
      h("span", { class: "url" }, request.url),
      request.redirected_to ? h("span", { class: "url muted" }, ` → ${request.redirected_to}`) : null,
      request.error ? h("span", { class: "wrong" }, ` ${request.error}`) : null,
    ),
    cell(failed ? "status wrong" : "status", request.error ? "failed" : String(request.status)),
    cell("number", h("span", { class: "hidden" }, "Size "), bytes(request.bytes)),
    cell("number start", h("span", { class: "hidden" }, "Start "), duration(request.start_ms)),
    cell("number", h("span", { class: "hidden" }, "Time "), duration(request.duration_ms)),
    cell(
      "bars",
      h("span", { class: "hidden" }, words),
      s("svg", { viewBox: `0 0 ${WIDTH} 16`, preserveAspectRatio: "none", "aria-hidden": "true" }, s("title", {}, words), bars),
    ),
  );
}
