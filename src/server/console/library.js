// The page "Library": named scripts, which can be run with arguments, and schedules.

import { alarm, block, empty, h, put } from "./dom.js";
import { listing } from "./code.js";
import { pretty, when } from "./format.js";
import { call, explain } from "./rpc.js";
import { readArgs, compose } from "./run.js";

export function show(main, { name }) {
  if (name) showScript(main, name);
  else showAll(main);
  return { leave: () => {} };
}

async function showAll(main) {
  const scripts = h("div", {}, h("p", { class: "note" }, "Loading…"));
  const schedules = h("div", {}, h("p", { class: "note" }, "Loading…"));
  main.append(h("h1", {}, "Library"), h("section", {}, h("h2", {}, "Scripts"), scripts), h("section", {}, h("h2", {}, "Schedules"), schedules));
  await Promise.all([
    load(scripts, "script.list", (list) => table("Scripts of the library", ["Name", "Newest version", "What it does"], list.map(scriptRow)), () =>
      empty("The library is empty.", "Keep a script under a name by the method ", h("code", {}, "script.put"), ": {name, script, description}. It can be run by its name then, here and by schedules."),
    ),
    load(schedules, "schedule.list", (list) => table("Schedules", ["Name", "Times", "Script", "Next time", "Runs"], list.map(scheduleRow)), () =>
      empty("There are no schedules.", "A script is run at times by the method ", h("code", {}, "schedule.put"), ": {name, cron, library}."),
    ),
  ]);
}

async function load(place, method, full, none) {
  try {
    const list = await call(method);
    place.replaceChildren(list.length ? full(list) : none());
  } catch (error) {
    place.replaceChildren(alarm(explain(error)));
  }
}

function table(caption, heads, rows) {
  return h(
    "table",
    { class: "list plain", role: "table" },
    h("caption", { class: "hidden" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map((label) => h("th", { role: "columnheader", scope: "col" }, label)))),
    h("tbody", { role: "rowgroup" }, rows),
  );
}

function cells(first, rest) {
  return h("tr", { role: "row" }, h("th", { role: "rowheader", scope: "row" }, first), rest.map((content) => h("td", { role: "cell" }, content)));
}

function scriptRow({ name, version, description }) {
  return cells(h("a", { href: `#/library/${encodeURIComponent(name)}`, class: "title" }, name), [`version ${version}`, description ?? "–"]);
}

function scheduleRow(schedule) {
  const what = schedule.library ? h("a", { href: `#/library/${encodeURIComponent(schedule.library.split("@")[0])}` }, schedule.library) : h("code", {}, (schedule.script ?? "").trim().split("\n")[0].slice(0, 60));
  const next = schedule.enabled ? (schedule.next[0] ? when(Date.parse(schedule.next[0])) : "never") : "switched off";
  return cells(schedule.name, [h("span", {}, h("code", {}, schedule.cron), ` ${schedule.time_zone}`), what, next, h("a", { href: `#/runs?schedule=${encodeURIComponent(schedule.name)}` }, "Show", h("span", { class: "hidden" }, ` the runs of ${schedule.name}`))]);
}

async function showScript(main, name) {
  main.append(h("p", { class: "crumb" }, h("a", { href: "#/library" }, "Library"), h("span", { "aria-hidden": "true" }, " / "), name), h("h1", {}, name));
  const place = h("div", { class: "script-page" }, h("p", { class: "note" }, "Loading…"));
  main.append(place);
  let script;
  try {
    script = await call("script.get", { name });
  } catch (error) {
    place.replaceChildren(alarm(explain(error)));
    return;
  }
  const version = h("select", { id: "version" }, [...script.versions].reverse().map((number) => h("option", { value: number }, number === script.version ? `${number} (newest)` : number)));
  const args = h("textarea", { id: "args", class: "small", rows: "4", spellcheck: "false", wrap: "off", "aria-describedby": "args-wrong", placeholder: "{}" });
  const wrong = h("p", { id: "args-wrong", class: "field-error" });
  const trouble = h("div", {});
  const text = h("div", {});
  const schema = h("div", {});
  const shown = (script) => {
    text.replaceChildren(listing(script.script, null));
    schema.replaceChildren(...(script.schema ? [h("details", { open: true }, h("summary", {}, "What the arguments have to be (JSON Schema)"), block(pretty(script.schema), "Schema"))] : []));
  };
  const form = h(
    "form",
    { class: "run-form", novalidate: true },
    h("div", {}, h("label", { for: "version" }, "Version"), version),
    h("div", {}, h("label", { for: "args" }, "Arguments ", h("span", { class: "muted" }, "JSON, the script's ARGS")), args, wrong),
    schema,
    h("div", { class: "row" }, h("button", { type: "submit", class: "main", id: "go" }, "Run"), h("button", { type: "button", on: { click: () => edit() } }, "Open in the editor")),
    trouble,
  );
  const edit = () => {
    compose(script.script, readArgs(args.value).args ?? null, null);
    location.hash = "#/";
  };
  version.addEventListener("change", async () => {
    try {
      script = { ...(await call("script.get", { name, version: Number(version.value) })), versions: script.versions };
      shown(script);
    } catch (error) {
      trouble.replaceChildren(alarm(explain(error)));
    }
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { args: value, wrong: no } = readArgs(args.value);
    put(wrong, no ?? "");
    args.toggleAttribute("aria-invalid", Boolean(no));
    if (no) return args.focus();
    trouble.replaceChildren();
    try {
      const params = { name: `${name}@${version.value}` };
      if (value !== null) params.args = value;
      const { job_id: id } = await call("job.submit", params);
      location.hash = `#/run/${id}`;
    } catch (error) {
      trouble.replaceChildren(alarm(`It was not run. ${explain(error)}`));
    }
  });
  shown(script);
  place.replaceChildren(script.description ? h("p", { class: "lead" }, script.description) : "", h("div", { class: "columns" }, form, h("section", { class: "panel" }, h("h2", {}, "Script"), text)));
}
