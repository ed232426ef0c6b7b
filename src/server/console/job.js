// The page of one run, at `#/run/ID`.

import { alarm, ask, block, button, h, put, say } from "./dom.js";
import { listing } from "./code.js";
import { ago, bytes, canRetry, clockTime, count, duration, hasEnded, origin, pretty, time } from "./format.js";
import { NOT_FOUND, call, explain } from "./rpc.js";
import { compose } from "./run.js";
import { Trail } from "./trail.js";

const USAGE = {
  operations: ["Steps", count],
  memory: ["Peak memory", bytes],
  requests: ["Requests", count],
  sent: ["Sent", bytes],
  received: ["Received", bytes],
};

export function show(main, { id }) {
  const title = h("h1", { class: "job-title" }, "Run");
  const facts = h("dl", { class: "facts" });
  const trouble = h("div", {});
  const script = h("section", { class: "panel", hidden: true });
  const args = h("section", { class: "panel", hidden: true });
  const usage = h("section", { class: "panel", hidden: true });
  const rows = h("tbody", {});
  const many = h("span", { class: "count" }, "0");
  const events = h(
    "details",
    { class: "panel" },
    h("summary", {}, h("h2", {}, "Events "), many),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events" }, h("table", { class: "events" }, h("thead", {}, h("tr", {}, ["No.", "Time", "Event", "What it says"].map((label) => h("th", { scope: "col" }, label)))), rows)),
  );

  const trying = (what, act) => async () => {
    trouble.replaceChildren();
    try {
      await act();
    } catch (error) {
      trouble.replaceChildren(alarm(`${what} ${explain(error)}`));
    }
  };
  const again = button("Re-run", trying("It was not run again.", async () => {
    const { job_id: next } = await rerun(trail.job);
    say("Submitted as a new run.");
    location.hash = `#/run/${next}`;
  }), { id: "again", hidden: true });
  const retry = button("Retry", trying("It was not retried.", async () => {
    await call("job.retry", { job_id: id });
    say("It is in the queue again, under its id.");
    restart();
  }), { id: "retry", hidden: true });
  const cancel = button("Cancel", trying("It was not cancelled.", async () => {
    if (!(await ask("Cancel this run?", "The script is stopped, with its requests in flight. What it has done already stays done.", "Cancel the run"))) return;
    await call("job.cancel", { job_id: id });
    await trail.look();
  }), { id: "cancel", hidden: true });
  const edit = button("Open in the editor", () => {
    compose(trail.job.script, trail.job.args, trail.job.timeout_ms);
    location.hash = "#/";
  }, { id: "edit", hidden: true });

  let shown = null;
  let told = 0;
  const changed = (job) => {
    const focused = document.activeElement;
    for (const [element, wanted] of [[again, job], [edit, job], [retry, job && canRetry(job.state)], [cancel, job && !hasEnded(job.state)]]) element.hidden = !wanted;
    if (focused?.hidden) main.focus();
    if (!job) return;
    put(title, job.name ?? firstLine(job.script));
    document.title = `${title.textContent} – marmot`;
    facts.replaceChildren(...factsOf(job));
    const failure = job.outcome?.failure;
    const version = `${job.state} ${failure?.line}`;
    if (shown !== version) {
      shown = version;
      script.replaceChildren(h("h2", {}, "Script"), listing(job.script, failure));
      script.hidden = false;
      args.replaceChildren(h("h2", {}, "Arguments"), job.args === null || job.args === undefined ? h("p", { class: "note" }, "None.") : block(pretty(job.args), "Arguments"));
      args.hidden = false;
    }
    const usages = job.outcome?.usage ?? {};
    const used = Object.entries(USAGE).filter(([name]) => usages[name] !== undefined);
    usage.hidden = used.length === 0;
    if (used.length) usage.replaceChildren(h("h2", {}, "Usage"), h("dl", { class: "facts" }, used.map(([name, [label, show]]) => fact(label, show(usages[name])))));
  };
  const event = ({ seq, at, kind, data }) => {
    told += 1;
    put(many, String(told));
    rows.append(h("tr", {}, h("td", { class: "number" }, seq), h("td", {}, clockTime(at)), h("td", {}, kind), h("td", {}, h("code", {}, JSON.stringify(data).slice(0, 2000)))));
    while (rows.childElementCount > 2000) rows.firstElementChild.remove();
  };

  let trail;
  const left = h("div", { class: "main-column" });
  const restart = () => {
    trail?.stop();
    told = 0;
    rows.replaceChildren();
    trail = new Trail(id, { changed, told: event, excerpt: false });
    state.replaceChildren(trail.state);
    left.replaceChildren(trail.end, trail.log, trail.requests, script, args);
  };
  const state = h("div", {});
  main.append(
    h("p", { class: "crumb" }, h("a", { href: "#/runs" }, "Runs"), h("span", { "aria-hidden": "true" }, " / "), h("code", {}, id)),
    h("div", { class: "row head" }, title, h("div", { class: "row actions" }, again, retry, cancel, edit)),
    state,
    trouble,
    h("div", { class: "columns wide-left" }, left, h("aside", { "aria-label": "Facts" }, h("section", { class: "panel" }, h("h2", {}, "Facts"), facts), usage)),
    events,
  );
  restart();
  return { leave: () => trail.stop() };
}

/** A new run of the same script with the same arguments. */
async function rerun(job) {
  const params = { timeout_ms: job.timeout_ms, priority: job.priority, max_attempts: job.max_attempts };
  if (job.args !== null && job.args !== undefined) params.args = job.args;
  if (job.name) {
    try {
      return await call("job.submit", { ...params, name: job.name });
    } catch (error) {
      // That version is in the library no longer; the job has its text.
      if (error.code !== NOT_FOUND) throw error;
    }
  }
  return call("job.submit", { ...params, script: job.script });
}

function firstLine(script) {
  return script.split("\n").map((line) => line.trim()).find(Boolean)?.slice(0, 80) ?? "(empty script)";
}

function fact(name, ...value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
}

function factsOf(job) {
  const attempts = job.attempts ? `${job.attempts} of ${job.max_attempts}` : `none of ${job.max_attempts}`;
  return [
    fact("Submitted", time(job.created_at), h("span", { class: "muted" }, " ", ago(job.created_at))),
    job.not_before ? fact("Not before", time(job.not_before)) : null,
    job.started_at ? fact("Started", time(job.started_at), h("span", { class: "muted" }, ` after ${duration(job.started_at - job.created_at)}`)) : null,
    job.finished_at ? fact("Ended", time(job.finished_at)) : null,
    job.outcome && job.state !== "dead" ? fact("Ran for", duration(job.outcome.duration_ms)) : null,
    fact("Time limit", duration(job.timeout_ms)),
    fact("Attempts", attempts),
    job.worker ? fact("Worker", h("code", {}, job.worker)) : null,
    fact("Origin", origin(job.origin)),
    fact("Priority", job.priority),
    job.name ? fact("Library", h("a", { href: `#/library/${encodeURIComponent(job.name.split("@")[0])}` }, job.name)) : null,
    job.idempotency_key ? fact("Idempotency key", h("code", {}, job.idempotency_key)) : null,
    job.trace_parent ? fact("Trace", h("code", {}, job.trace_parent.split("-")[1] ?? job.trace_parent)) : null,
  ].filter(Boolean);
}
