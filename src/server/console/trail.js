// What a job does, as it does it: its output, its requests, its end. The page of a run and the form share it.

import { alarm, block, copy, button, h, put } from "./dom.js";
import { badge, bytes, clockTime, count, duration, hasEnded, pretty } from "./format.js";
import { follow, link } from "./live.js";
import { NOT_FOUND, Refused, call, explain } from "./rpc.js";
import { waterfall } from "./waterfall.js";

/** The most lines on the page; a browser bears more, a reader does not. */
const LINES = 5000;
/** How long the last events may take after the job has ended, before the page goes by the job alone. */
const LAST = 1500;

/**
 * A job on the page. `changed(job)` is called whenever the job is known anew, `told(event)` for each event. `excerpt`:
 * the line of an error is shown with it, where the script itself is not. The parts are `state`, `log`, `requests` and `end`; `stop()` ends it.
 */
export class Trail {
  constructor(id, { changed = () => {}, told = () => {}, excerpt = true } = {}) {
    Object.assign(this, { id, changed, told, excerpt, job: null, waiting: [], http: [], started: 0, logged: 0, missed: 0, seq: 0, asked: 0, known: 0, stopped: false, resulted: false });
    this.badge = badge("queued");
    this.clock = h("span", { class: "muted" });
    this.spoken = h("span", { class: "hidden", role: "status" });
    this.state = h("p", { class: "state" }, this.badge, this.clock, this.spoken);
    this.lines = h("div", { class: "lines", role: "log", "aria-label": "Output", tabindex: "0" });
    this.gap = h("p", { class: "note warn", hidden: true });
    this.silence = h("p", { class: "note" }, "Nothing was printed so far.");
    const copying = button("Copy output", () => copy(this.output()), { class: "quiet" });
    this.log = h("section", { class: "panel" }, h("div", { class: "row" }, h("h2", {}, "Output"), copying), this.gap, this.silence, this.lines);
    this.lines.hidden = true;
    this.bars = waterfall();
    this.requests = h("section", { class: "panel", hidden: true }, h("h2", {}, "Requests"), this.bars);
    this.end = h("section", { class: "panel", hidden: true });
    this.ticking = setInterval(() => this.tick(), 200);
    this.linked = () => link.state === "open" && this.look();
    this.seen = () => document.hidden || this.look();
    link.addEventListener("change", this.linked);
    document.addEventListener("visibilitychange", this.seen);
    this.follow();
    this.look();
  }

  follow() {
    this.leave?.();
    this.leave = follow(this.id, this.seq + 1, {
      event: (event) => this.event(event),
      lagged: (missed) => this.lagged(missed),
      failed: (error) => this.fail(error),
    });
  }

  stop() {
    this.stopped = true;
    clearInterval(this.ticking);
    clearTimeout(this.last);
    link.removeEventListener("change", this.linked);
    document.removeEventListener("visibilitychange", this.seen);
    this.leave();
  }

  /** Looks at the job itself, which knows what events may not tell. */
  async look() {
    const mine = ++this.asked;
    try {
      const job = await call("job.get", { job_id: this.id });
      // Answers may overtake each other, and what is old is not news.
      if (mine < this.known) return;
      this.known = mine;
      this.know(job);
    } catch (error) {
      if (!this.stopped) this.fail(error);
    }
  }

  know(job) {
    if (this.stopped) return;
    this.job = job;
    this.started = job.started_at ?? 0;
    this.badge.update(job.state, job.ending);
    this.tick();
    if (hasEnded(job.state)) {
      clearTimeout(this.last);
      if (this.resulted) this.finish();
      else this.last = setTimeout(() => this.finish(), this.missed || this.logged || !job.outcome?.output ? LAST : 300);
    } else {
      clearTimeout(this.last);
      this.end.hidden = true;
      this.end.replaceChildren();
      // Somebody has it run again; nothing was told after its end.
      if (this.ended) this.follow();
      this.ended = null;
    }
    this.changed(job);
  }

  fail(error) {
    if (this.stopped) return;
    const gone = error instanceof Refused && error.code === NOT_FOUND;
    this.end.hidden = false;
    this.end.replaceChildren(alarm(gone ? "The server does not know this run. It is kept no longer, or belongs to another token, or the server has lost it by a restart." : explain(error)));
    if (gone) {
      clearInterval(this.ticking);
      put(this.clock, "");
      this.gone = true;
      this.changed(null);
    }
  }

  tick() {
    const job = this.job;
    if (!job || this.gone) return;
    let text = "";
    if (job.state === "running" && this.started) text = `for ${duration(Math.floor((Date.now() - this.started) / 100) * 100)}`;
    else if (job.state === "queued") text = "waiting for a worker";
    else if (job.state === "delayed") text = "waiting for its time";
    else if (job.outcome && job.state !== "dead") text = `after ${duration(job.outcome.duration_ms)}`;
    put(this.clock, text);
  }

  lagged(missed) {
    this.missed += missed;
    this.gap.hidden = false;
    put(this.gap, `${count(this.missed)} events are kept no longer and are not shown. The whole output is shown when the run has ended.`);
  }

  event(event) {
    if (this.stopped) return;
    this.seq = event.seq;
    this.told(event);
    switch (event.kind) {
      case "queued":
        if (event.data.again) {
          this.line("mark", event.at, "Back in the queue");
          this.resulted = false;
          this.look();
        }
        break;
      case "started":
        this.http = [];
        this.draw();
        this.started = event.at;
        this.resulted = false;
        if (this.logged || event.data.attempt > 1) this.line("mark", event.at, `Attempt ${event.data.attempt} on ${event.data.worker}`);
        this.look();
        break;
      case "log":
        this.logged += 1;
        this.line(event.data.debug ? "debug" : "text", event.at, event.data.text);
        break;
      case "http":
        this.http.push(event.data);
        this.line("http", event.at, request(event.data));
        this.draw();
        break;
      case "result":
        this.resulted = true;
        this.look();
        break;
    }
  }

  /** Lines are put in together, a few times in a second. */
  line(kind, at, text) {
    this.waiting.push([kind, at, text]);
    this.flushing ??= setTimeout(() => this.flush(), 40);
  }

  flush() {
    clearTimeout(this.flushing);
    this.flushing = null;
    if (!this.waiting.length) return;
    const { lines } = this;
    lines.hidden = false;
    this.silence.hidden = true;
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    const fresh = this.waiting.slice(-LINES).map(([kind, at, text]) => {
      const since = this.started && at >= this.started ? `+${((at - this.started) / 1000).toFixed(2)}` : clockTime(at);
      return h("div", { class: `line ${kind}` }, h("span", { class: "at", "aria-hidden": "true" }, since), h("span", { class: "said-text" }, text));
    });
    this.waiting = [];
    lines.append(...fresh);
    while (lines.childElementCount > LINES) lines.firstElementChild.remove();
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  }

  draw() {
    if (this.drawing) return;
    this.drawing = setTimeout(() => {
      this.drawing = null;
      this.requests.hidden = this.http.length === 0;
      this.bars.set(this.http);
    }, 40);
  }

  output() {
    if (this.job?.outcome) return this.job.outcome.output;
    this.flush();
    return [...this.lines.querySelectorAll(".text .said-text")].map((line) => line.textContent).join("\n");
  }

  finish() {
    const { job } = this;
    const ended = `${job.state} ${job.finished_at}`;
    if (this.stopped || this.ended === ended) return;
    this.ended = ended;
    this.flush();
    const outcome = job.outcome ?? {};
    // Events are kept for a shorter time than the outcome.
    if (outcome.output && (this.missed || !this.logged)) {
      this.gap.hidden = this.missed === 0;
      put(this.gap, "Times and requests of a part of this output are kept no longer.");
      this.lines.replaceChildren(h("div", { class: "line text" }, h("span", { class: "said-text" }, outcome.output.replace(/\n$/, ""))));
      this.lines.hidden = false;
      this.silence.hidden = true;
    }
    put(this.silence, "Nothing was printed.");
    this.end.hidden = false;
    this.end.replaceChildren(...end(job, outcome, this.excerpt));
    put(this.spoken, `The run has ended: ${this.badge.textContent}, ${this.clock.textContent}.`);
  }
}

function request(data) {
  const result = data.error ? `failed: ${data.error}` : data.status;
  return `${data.method} ${data.url} → ${result} (${duration(data.duration_ms)}, ${bytes(data.bytes)})`;
}

/** How a job has ended: its value, or its error. */
function end(job, outcome, excerpt) {
  const failure = outcome.failure;
  if (failure) {
    const parts = [h("h2", {}, job.state === "cancelled" ? "Cancelled" : "Error"), h("p", { class: "error" }, failure.message)];
    const place = failure.line ? `Line ${failure.line}${failure.column ? `, column ${failure.column}` : ""}. ` : "";
    parts.push(h("p", { class: "muted" }, place, advice(failure.kind)));
    if (excerpt && failure.rendered && failure.line) parts.push(block(failure.rendered, "The place of the error"));
    if (failure.value !== undefined && failure.value !== null && typeof failure.value === "object") {
      parts.push(h("details", {}, h("summary", {}, "What was thrown"), block(pretty(failure.value), "What was thrown")));
    }
    return parts;
  }
  if (outcome.value_type) {
    return [h("h2", {}, "Result"), h("p", { class: "note" }, `The script has ended with a value of the type ${outcome.value_type}, which JSON cannot say.`)];
  }
  if (outcome.value === null || outcome.value === undefined) {
    return [h("h2", {}, "Result"), h("p", { class: "note" }, "The script has ended without a value.")];
  }
  const text = pretty(outcome.value);
  return [h("div", { class: "row" }, h("h2", {}, "Result"), button("Copy result", () => copy(text), { class: "quiet" })), block(text, "Result")];
}

/** What to do about an error. */
function advice(kind) {
  switch (kind) {
    case "parse":
      return "The script was not begun; correct it and run it again.";
    case "time_limit":
      return "Give it more time, or let it do less.";
    case "budget":
      return "A limit of the worker is used up; let the script do less, or ask the operator for more.";
    case "cancelled":
      return "Somebody has ended it.";
    case "configuration":
      return "The worker could not make an engine; its operator has to look at its settings.";
    case "too_large":
      return "Let the script return less, or print it.";
    default:
      return "";
  }
}
