// The page "Queue": how much waits and runs, and who works on it.

import { alarm, empty, h, put, reconcile } from "./dom.js";
import { ago, count, duration } from "./format.js";
import { refreshing } from "./refresh.js";
import { call, explain } from "./rpc.js";

const TILES = [
  ["waiting", "Waiting", count, "#/runs?state=queued"],
  ["running", "Running", count, "#/runs?state=running"],
  ["delayed", "Delayed", count, "#/runs?state=delayed"],
  ["dead", "Dead letters", count, "#/dead"],
  ["oldest_ms", "Oldest waits for", (ms) => (ms ? duration(ms) : "–"), null],
  ["redelivered", "Delivered again", count, null],
];

export function show(main) {
  const trouble = h("div", {});
  const values = new Map();
  const tiles = h(
    "dl",
    { class: "tiles" },
    TILES.map(([name, label, , href]) => {
      const value = h("dd", {}, "–");
      values.set(name, value);
      return h("div", { class: "tile" }, h("dt", {}, href ? h("a", { href }, label) : label), value);
    }),
  );
  const body = h("tbody", { role: "rowgroup" });
  const head = (label, kind) => h("th", { role: "columnheader", scope: "col", class: kind }, label);
  const table = h(
    "table",
    { class: "list workers", role: "table", hidden: true },
    h("caption", { class: "hidden" }, "Workers"),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head("Worker", "wide"), head("Busy"), head("Finished", "number"), head("Started"), head("Last heard of"))),
    body,
  );
  const nothing = h("div", {});
  main.append(h("h1", {}, "Queue"), trouble, tiles, h("h2", {}, "Workers"), table, nothing);

  let left = false;
  const load = async () => {
    let stats;
    let workers;
    try {
      [stats, workers] = await Promise.all([call("queue.stats"), call("worker.list")]);
    } catch (error) {
      if (!left) trouble.replaceChildren(alarm(`The numbers are not up to date. ${explain(error)}`));
      return;
    }
    if (left) return;
    trouble.replaceChildren();
    for (const [name, , show] of TILES) put(values.get(name), show(stats[name]));
    values.get("dead").classList.toggle("wrong", stats.dead > 0);
    reconcile(body, workers, (worker) => worker.name, row);
    table.hidden = workers.length === 0;
    if (workers.length) nothing.replaceChildren();
    else if (!nothing.firstChild) nothing.append(empty("No worker lives.", "Jobs wait until there is one. Start one that uses this queue: ", h("code", {}, "marmot worker"), "."));
  };
  const end = refreshing(load);
  return {
    leave: () => {
      left = true;
      end();
    },
  };
}

function row(worker) {
  const meter = h("meter", { min: "0", "aria-hidden": "true" });
  const busy = h("span", {});
  const finished = h("span", {});
  const seen = h("td", { role: "cell", class: "age" });
  const element = h(
    "tr",
    { role: "row" },
    h("th", { role: "rowheader", scope: "row", class: "wide" }, h("code", {}, worker.name)),
    h("td", { role: "cell", class: "busy" }, meter, busy),
    h("td", { role: "cell", class: "number" }, finished, h("span", { class: "only-small" }, " finished")),
    h("td", { role: "cell", class: "age hide-small" }, ago(worker.started_at)),
    seen,
  );
  element.update = (worker) => {
    meter.max = worker.concurrency;
    meter.value = worker.running;
    put(busy, `${count(worker.running)} of ${count(worker.concurrency)}`);
    put(finished, count(worker.finished));
    seen.replaceChildren(ago(worker.seen_at));
  };
  return element;
}
