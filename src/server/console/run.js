// The page "Run": a script is written, run, and followed.

import { alarm, button, h, put } from "./dom.js";
import { editor } from "./code.js";
import { hasEnded } from "./format.js";
import { call, explain, fresh } from "./rpc.js";
import { Trail } from "./trail.js";

const DRAFT = "marmot.draft";
const FIRST = `// Ctrl+Enter runs this. ARGS holds the arguments below.
let who = if "name" in ARGS { ARGS.name } else { "world" };
print("Hello, " + who);
#{ greeted: who }
`;

// Kept while other pages are looked at.
let latest = null;
let attempt = { body: null, key: null };

/** Puts a script into the form, which is shown next. */
export function compose(script, args, timeoutMs) {
  keep({ script, args: args === null || args === undefined ? "" : JSON.stringify(args, null, 2), seconds: timeoutMs ? String(timeoutMs / 1000) : "" });
  latest = null;
}

function keep(draft) {
  try {
    sessionStorage.setItem(DRAFT, JSON.stringify(draft));
  } catch {
    // It is larger than browsers keep. It is lost with the page then, as in any form.
  }
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(DRAFT)) ?? {};
  } catch {
    return {};
  }
}

/** What is in a field for arguments: `{ args }`, or `{ wrong }`, what is wrong with it. */
export function readArgs(text) {
  if (!text.trim()) return { args: null };
  try {
    return { args: JSON.parse(text) };
  } catch (error) {
    return { wrong: `This is not valid JSON: ${error.message}. Names and texts stand in double quotes, as in {"name": "Edda"}.` };
  }
}

export function show(main, { me }) {
  const draft = kept();
  const code = editor({ id: "script", "aria-describedby": "script-help", "aria-keyshortcuts": "Control+Enter" });
  code.set(draft.script ?? FIRST);
  const args = h("textarea", { id: "args", class: "small", rows: "3", spellcheck: "false", wrap: "off", "aria-describedby": "args-wrong", placeholder: '{"name": "Edda"}', value: draft.args ?? "" });
  const longest = me.longest_task_ms / 1000;
  const seconds = h("input", { id: "seconds", type: "number", min: "0.001", max: longest, step: "any", inputmode: "decimal", placeholder: me.task_timeout_ms / 1000, "aria-describedby": "seconds-wrong", value: draft.seconds ?? "" });
  const argsWrong = h("p", { id: "args-wrong", class: "field-error" });
  const secondsWrong = h("p", { id: "seconds-wrong", class: "field-error" });
  const run = h("button", { type: "submit", class: "main", id: "go" }, "Run");
  const cancel = button("Cancel", () => latest && stop(), { id: "cancel", hidden: true });
  const trouble = h("div", {});
  const result = h("div", { class: "result", id: "result" });
  const form = h(
    "form",
    { class: "run-form", novalidate: true },
    h("label", { for: "script" }, "Script"),
    code,
    h("p", { id: "script-help", class: "help" }, "Tab indents; Escape, then Tab leaves the field. ", h("kbd", {}, "Ctrl"), "+", h("kbd", {}, "Enter"), " runs."),
    h(
      "div",
      { class: "fields" },
      h("div", {}, h("label", { for: "args" }, "Arguments ", h("span", { class: "muted" }, "JSON, the script's ARGS")), args, argsWrong),
      h("div", {}, h("label", { for: "seconds" }, "Time limit ", h("span", { class: "muted" }, "seconds")), seconds, secondsWrong),
    ),
    h("div", { class: "row" }, run, cancel),
    trouble,
  );
  main.append(h("h1", {}, "Run a script"), h("div", { class: "columns" }, form, result));

  let trail = null;
  const save = () => keep({ script: code.area.value, args: args.value, seconds: seconds.value });
  for (const field of [code.area, args, seconds]) field.addEventListener("input", save);

  const wrong = (field, place, text) => {
    put(place, text ?? "");
    if (text) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    return Boolean(text);
  };

  const read = () => {
    const { args: value, wrong: no } = readArgs(args.value);
    const limit = seconds.value.trim() === "" && !seconds.validity.badInput ? null : Number(seconds.value || Number.NaN);
    const badLimit = limit !== null && !(limit > 0 && limit <= longest);
    const bad = [
      wrong(args, argsWrong, no),
      wrong(seconds, secondsWrong, badLimit ? `A number of seconds above 0 and up to ${longest.toLocaleString()}, or nothing.` : null),
    ];
    if (bad[0]) args.focus();
    else if (bad[1]) seconds.focus();
    if (bad.includes(true)) return null;
    const params = { script: code.area.value };
    if (value !== null) params.args = value;
    if (limit !== null) params.timeout_ms = Math.max(1, Math.round(limit * 1000));
    return params;
  };

  const follow = (id, script) => {
    trail?.stop();
    latest = { id, script };
    trail = new Trail(id, {
      changed: (job) => {
        const ended = !job || hasEnded(job.state);
        const focused = document.activeElement === cancel;
        cancel.hidden = ended;
        if (focused && ended) run.focus();
        const failure = job?.outcome?.failure;
        // Only where the script is still the one that has failed.
        code.mark(failure?.line && code.area.value === script ? failure.line : null);
        jump.replaceChildren(...(failure?.line ? [button(`Go to line ${failure.line}`, () => code.go(failure.line, failure.column))] : []));
      },
    });
    const jump = h("div", { class: "jump" });
    result.replaceChildren(h("div", { class: "row" }, h("h2", {}, "This run"), h("a", { href: `#/run/${id}`, id: "open" }, "Open its page")), trail.state, trail.end, jump, trail.log, trail.requests);
  };

  const stop = async () => {
    try {
      await call("job.cancel", { job_id: latest.id });
      trail?.look();
    } catch (error) {
      trouble.replaceChildren(alarm(`It was not cancelled. ${explain(error)}`));
    }
  };

  let busy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    const params = read();
    if (!params) return;
    busy = true;
    run.setAttribute("aria-disabled", "true");
    trouble.replaceChildren();
    try {
      // A call whose answer was lost is made again under its key, so that the script runs once.
      const body = JSON.stringify(params);
      if (attempt.body !== body) attempt = { body, key: fresh() };
      const { job_id: id } = await call("job.submit", { ...params, idempotency_key: attempt.key });
      attempt = { body: null, key: null };
      if (main.isConnected) follow(id, params.script);
    } catch (error) {
      trouble.replaceChildren(alarm(`It was not run. ${explain(error)}`));
    } finally {
      busy = false;
      run.removeAttribute("aria-disabled");
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });

  if (latest) follow(latest.id, latest.script);
  else result.append(h("div", { class: "empty" }, h("p", { class: "strong" }, "Nothing was run here so far."), h("p", {}, "Press Run: what the script prints, its HTTP requests and its result appear here while it runs.")));
  return { leave: () => trail?.stop() };
}
