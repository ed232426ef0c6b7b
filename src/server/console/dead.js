// The page "Dead letters": jobs that no worker has finished, to be looked at and run again.

import { alarm, ask, button, empty, h, put, reconcile, say } from "./dom.js";
import { ago, count } from "./format.js";
import { refreshing } from "./refresh.js";
import { call, explain } from "./rpc.js";

const SIZE = 100;

export function show(main) {
  const chosen = new Set();
  const trouble = h("div", {});
  const body = h("tbody", { role: "rowgroup" });
  const all = h("input", { type: "checkbox", id: "all", "aria-label": "Select all that are shown", on: { change: () => choose(all.checked) } });
  const head = (label, kind) => h("th", { role: "columnheader", scope: "col", class: kind }, label);
  const table = h(
    "table",
    { class: "list dead", role: "table", hidden: true },
    h("caption", { class: "hidden" }, "Dead letters, the newest first"),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head(all, "check"), head("Script", "wide"), head("Attempts", "number"), head("Died"), head(h("span", { class: "hidden" }, "Action")))),
    body,
  );
  const nothing = h("div", {});
  const more = h("p", { class: "note", hidden: true }, `The newest ${SIZE} are shown. Retry these first, or all of them.`);

  const again = async (params, what) => {
    trouble.replaceChildren();
    try {
      const { retried } = await call("dead.retry", params);
      for (const id of retried) chosen.delete(id);
      say(retried.length === 1 ? "One job is in the queue again." : `${count(retried.length)} jobs are in the queue again.`);
    } catch (error) {
      trouble.replaceChildren(alarm(`${what} ${explain(error)}`));
    }
    await load();
    // What had the focus may be gone with its row.
    if (document.activeElement === document.body) main.focus();
  };
  const selected = button("Retry selected", () => (chosen.size ? again({ job_ids: [...chosen] }, "Not all were retried.") : say("Select some dead letters first.")), { id: "retry-selected" });
  const everything = button("Retry all…", async () => {
    const text = "Each is run from its beginning, as often as it may be. Look first at why they died: a script that takes its worker down does so again.";
    if (await ask("Retry all dead letters?", text, "Retry all")) await again({}, "Not all were retried.");
  }, { id: "retry-all" });
  const tools = h("div", { class: "row", hidden: true }, selected, everything);
  main.append(
    h("h1", {}, "Dead letters"),
    h("p", { class: "lead" }, "Jobs that were delivered as often as they may be, and that no worker has finished."),
    trouble,
    tools,
    table,
    more,
    nothing,
  );

  const tally = () => {
    put(selected, chosen.size ? `Retry selected (${chosen.size})` : "Retry selected");
    const boxes = [...body.querySelectorAll("input")];
    all.checked = boxes.length > 0 && boxes.every((box) => box.checked);
    all.indeterminate = !all.checked && boxes.some((box) => box.checked);
  };
  const choose = (on) => {
    for (const row of body.children) {
      row.querySelector("input").checked = on;
      if (on) chosen.add(row.dataset.key);
      else chosen.delete(row.dataset.key);
    }
    tally();
  };
  const row = (job) => {
    const box = h("input", {
      type: "checkbox",
      "aria-label": `Select ${job.title}`,
      on: {
        change: () => {
          if (box.checked) chosen.add(job.id);
          else chosen.delete(job.id);
          tally();
        },
      },
    });
    const element = h(
      "tr",
      { role: "row" },
      h("td", { role: "cell", class: "check" }, box),
      h("th", { role: "rowheader", scope: "row", class: "wide" }, h("a", { href: `#/run/${job.id}`, class: "title" }, job.title || "(empty script)"), h("span", { class: "why" }, job.error ?? "")),
      h("td", { role: "cell", class: "number" }, h("span", { class: "only-small" }, "Attempts: "), String(job.attempts)),
      h("td", { role: "cell", class: "age" }, ago(job.finished_at ?? job.created_at)),
      h("td", { role: "cell", class: "act" }, button("Retry", () => again({ job_ids: [job.id] }, "It was not retried."), { "aria-label": `Retry ${job.title}` })),
    );
    element.update = () => {};
    return element;
  };

  let round = 0;
  const load = async () => {
    const mine = ++round;
    let page;
    try {
      page = await call("job.list", { states: ["dead"], limit: SIZE });
    } catch (error) {
      if (mine === round) trouble.replaceChildren(alarm(`The list is not up to date. ${explain(error)}`));
      return;
    }
    if (mine !== round) return;
    const known = new Set(page.jobs.map((job) => job.id));
    for (const id of chosen) if (!known.has(id)) chosen.delete(id);
    reconcile(body, page.jobs, (job) => job.id, row);
    const none = page.jobs.length === 0;
    tools.hidden = none;
    table.hidden = none;
    more.hidden = !page.next;
    if (none && !nothing.firstChild) nothing.append(empty("There are no dead letters.", "All is well: each job was finished by a worker, or waits for one."));
    if (!none) nothing.replaceChildren();
    tally();
  };
  const end = refreshing(load);
  return {
    leave: () => {
      round += 1;
      end();
    },
  };
}
