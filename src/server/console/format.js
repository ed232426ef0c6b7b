// Numbers and times as people read them. Asks the server nothing.

import { h, put } from "./dom.js";

const STATES = {
  delayed: "Delayed",
  queued: "Queued",
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  timed_out: "Timed out",
  cancelled: "Cancelled",
  dead: "Dead",
};

export const states = Object.keys(STATES);
export const stateName = (state) => STATES[state] ?? state;
export const hasEnded = (state) => !["delayed", "queued", "running"].includes(state);
export const canRetry = (state) => hasEnded(state) && state !== "succeeded";

/** A job's state, in a colour and in a word. */
export function badge(state, ending) {
  const element = h("span", { class: "badge" });
  element.update = (state, ending) => {
    const text = ending && !hasEnded(state) ? "Cancelling" : stateName(state);
    element.dataset.state = state;
    put(element, text);
  };
  element.update(state, ending);
  return element;
}

/** A span of milliseconds: `0.4 ms`, `120 ms`, `1.25 s`, `2 min 5 s`, `3 h 10 min`, `2 d 4 h`. */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  const number = (value, digits) => value.toLocaleString(undefined, { maximumFractionDigits: digits });
  if (ms === 0) return "< 1 ms";
  if (ms < 10) return `${number(ms, 1)} ms`;
  if (ms < 1000) return `${number(ms, 0)} ms`;
  if (ms < 59_950) return `${number(ms / 1000, ms < 10_000 ? 2 : 1)} s`;
  const pair = (whole, unit, rest, small) => (rest ? `${whole} ${unit} ${rest} ${small}` : `${whole} ${unit}`);
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return pair(Math.floor(seconds / 60), "min", seconds % 60, "s");
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return pair(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(minutes / 60);
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  let value = count;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024 || unit === "GiB") {
      return `${value.toLocaleString(undefined, { maximumFractionDigits: value < 10 && unit !== "B" ? 1 : 0 })} ${unit}`;
    }
    value /= 1024;
  }
}

export const count = (number) => Number(number ?? 0).toLocaleString();

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
export const when = (at) => full.format(new Date(at));
export const clockTime = (at) => clock.format(new Date(at));

function age(at) {
  const seconds = Math.round((Date.now() - at) / 1000);
  const text = (seconds) => {
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86_400)} d`;
  };
  if (Math.abs(seconds) < 3) return "now";
  return seconds < 0 ? `in ${text(-seconds)}` : `${text(seconds)} ago`;
}

/** How long ago something was; it goes on counting. The exact time is its title. */
export function ago(at) {
  const element = h("time", { datetime: new Date(at).toISOString(), title: when(at) }, age(at));
  element.dataset.at = at;
  return element;
}

/** A time of the reader's clock. */
export const time = (at) => h("time", { datetime: new Date(at).toISOString() }, when(at));

setInterval(() => {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("time[data-at]")) put(element, age(Number(element.dataset.at)));
}, 1000);

/** Where a job came from. */
export function origin(origin) {
  if (origin?.schedule) return `schedule ${origin.schedule}`;
  if (origin?.hook) return `webhook ${origin.hook}`;
  return "client";
}

/** A value of JSON in lines. */
export const pretty = (value) => JSON.stringify(value, null, 2);
