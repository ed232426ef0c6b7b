// The page "Runs": all jobs, the newest first, page by page. It is kept up to date without losing the reader's place.

import { alarm, button, empty, h, put, reconcile } from "./dom.js";
import { ago, badge, duration, hasEnded, origin, stateName, states } from "./format.js";
import { call, explain } from "./rpc.js";
import { refreshing } from "./refresh.js";

const SIZE = 50;
const GROUPS = [
  ["", "All"],
  ["open", "Not ended"],
  ["bad", "Ended badly"],
  ...states.map((state) => [state, stateName(state)]),
];

function wanted(state) {
  if (state === "open") return states.filter((state) => !hasEnded(state));
  if (state === "bad") return states.filter((state) => hasEnded(state) && state !== "succeeded");
  return states.includes(state) ? [state] : [];
}

// The pages before this one, as far as they were seen.
let before = [];

export function show(main, { query }) {
  const asked = { state: query.get("state") ?? "", name: query.get("name") ?? "", schedule: query.get("schedule") ?? "", after: query.get("after") ?? "" };
  if (!asked.after) before = [];
  const state = h("select", { id: "state" }, GROUPS.map(([value, label]) => h("option", { value: value }, label)));
  for (const option of state.options) option.selected = option.value === asked.state;
  const name = h("input", { id: "name", type: "search", value: asked.name, placeholder: "of the library", autocomplete: "off", spellcheck: "false" });
  const trouble = h("div", {});
  const body = h("tbody", { role: "rowgroup" });
  const head = (label, kind) => h("th", { role: "columnheader", scope: "col", class: kind }, label);
  const table = h(
    "table",
    { class: "list", role: "table" },
    h("caption", { class: "hidden" }, "Runs, the newest first"),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head("Status"), head("Script", "wide"), head("Origin"), head("Submitted"), head("Duration", "number"))),
    body,
  );
  const nothing = h("div", {});
  const older = button("Older", () => turn(next, [...before, asked.after]), { hidden: true });
  const newer = button("Newer", () => turn(before.at(-1), before.slice(0, -1)), { hidden: true });
  const newest = button("Newest", () => turn("", []), { hidden: true });
  const pages = h("nav", { class: "row pages", "aria-label": "Pages" }, newest, newer, older);
  const found = h("p", { class: "hidden", role: "status" });
  const schedule = asked.schedule ? h("p", { class: "note" }, `Of the schedule ${asked.schedule} only. `, h("a", { href: "#/runs" }, "Show all")) : null;
  main.append(
    h("h1", {}, "Runs"),
    h(
      "form",
      { class: "row filter", role: "search", "aria-label": "Filter runs", on: { submit: (event) => event.preventDefault() } },
      h("div", {}, h("label", { for: "state" }, "Status"), state),
      h("div", {}, h("label", { for: "name" }, "Script name"), name),
    ),
    schedule ?? "",
    trouble,
    table,
    nothing,
    pages,
    found,
  );

  let next = null;
  let round = 0;

  /** The address tells the filter and the page, so that it can be sent and come back to. */
  const address = () => {
    const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value)).toString();
    return `#/runs${query ? `?${query}` : ""}`;
  };

  const turn = async (after, seen) => {
    asked.after = after ?? "";
    before = seen;
    history.pushState(null, "", address());
    await load();
    main.focus();
    window.scrollTo(0, 0);
  };

  const load = async () => {
    const mine = ++round;
    const filter = { states: wanted(asked.state), limit: SIZE };
    if (asked.name) filter.name = asked.name;
    if (asked.after) filter.after = asked.after;
    if (asked.schedule) filter.origin = { schedule: asked.schedule };
    let page;
    try {
      page = await call("job.list", filter);
    } catch (error) {
      if (mine === round) trouble.replaceChildren(alarm(`The list is not up to date. ${explain(error)}`));
      return;
    }
    // A filter that was changed meanwhile is answered by another call.
    if (mine !== round) return;
    trouble.replaceChildren();
    reconcile(body, page.jobs, (job) => job.id, row);
    table.hidden = page.jobs.length === 0;
    next = page.next ?? null;
    const focused = document.activeElement;
    older.hidden = !next;
    newest.hidden = !asked.after;
    newer.hidden = !asked.after || before.length === 0;
    if (focused?.hidden) main.focus();
    const filtered = asked.state || asked.name || asked.schedule;
    if (page.jobs.length) nothing.replaceChildren();
    else if (!nothing.firstChild || nothing.dataset.of !== address()) {
      nothing.replaceChildren(
        filtered || asked.after
          ? empty("No run fits.", "Choose another status, or clear the name. A name is that of a script in the library, as a whole.")
          : empty("There are no runs yet.", h("a", { href: "#/" }, "Run a script"), ", and it appears here."),
      );
      nothing.dataset.of = address();
    }
    if (found.dataset.of !== address()) {
      found.dataset.of = address();
      put(found, `${page.jobs.length} runs${next ? ", and there are older ones" : ""}`);
    }
  };

  const filter = () => {
    asked.state = state.value;
    asked.name = name.value.trim();
    asked.after = "";
    before = [];
    history.replaceState(null, "", address());
    return load();
  };
  let typing = 0;
  state.addEventListener("change", filter);
  name.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(filter, 250);
  });
  const end = refreshing(load);
  return {
    leave: () => {
      round += 1;
      clearTimeout(typing);
      end();
    },
  };
}

function row(job) {
  const state = badge(job.state);
  const title = h("a", { href: `#/run/${job.id}`, class: "title" }, job.title || "(empty script)");
  const error = h("span", { class: "why" });
  const took = h("td", { role: "cell", class: "number" });
  const element = h(
    "tr",
    { role: "row" },
    h("td", { role: "cell", class: "status" }, state),
    h("th", { role: "rowheader", scope: "row", class: "wide" }, title, error),
    h("td", { role: "cell", class: "origin" }, origin(job.origin)),
    h("td", { role: "cell", class: "age" }, ago(job.created_at)),
    took,
  );
  element.update = (job) => {
    state.update(job.state);
    element.dataset.state = job.state;
    put(error, job.error ?? "");
    put(took, job.duration_ms === undefined || job.state === "dead" ? "–" : duration(job.duration_ms));
  };
  return element;
}
