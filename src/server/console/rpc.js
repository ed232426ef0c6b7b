// Calls of the server's methods, and the token that they carry. Knows no page.

const KEY = "marmot.token";

/** Tells of `token`: the server wants one, or another one. */
export const bus = new EventTarget();

/** The server has answered with an error. */
export class Refused extends Error {
  constructor({ code, message, data }) {
    super(message);
    Object.assign(this, { code, data: data ?? {} });
  }
}

/** The server has not answered. */
export class Unreachable extends Error {}

/** The server wants to know who calls. */
export class NeedsToken extends Error {}

export const NOT_FOUND = -32004;

/** Kept by the browser until the tab is closed; where the browser keeps nothing, until the page is. */
function kept(change) {
  try {
    return change(sessionStorage);
  } catch {
    return null;
  }
}

let token = kept((storage) => storage.getItem(KEY));

export const hasToken = () => token !== null;

export function setToken(value) {
  token = value;
  kept((storage) => (value === null ? storage.removeItem(KEY) : storage.setItem(KEY, value)));
}

let number = 0;

/** Calls a method. Throws `Refused`, `Unreachable` or `NeedsToken`. */
export async function call(method, params = {}) {
  const headers = { "Content-Type": "application/json" };
  const used = token;
  if (used !== null) headers.Authorization = `Bearer ${used}`;
  const body = JSON.stringify({ jsonrpc: "2.0", id: ++number, method, params });
  let response;
  let text;
  try {
    response = await fetch("rpc", { method: "POST", headers, body });
    text = await response.text();
  } catch {
    throw new Unreachable("The server does not answer. Is it running? It is asked again until it does.");
  }
  if (response.status === 401) {
    // An answer to a token that was changed meanwhile says nothing about the new one.
    if (used === token) bus.dispatchEvent(new CustomEvent("token", { detail: { wrong: used !== null } }));
    throw new NeedsToken("The server wants a token.");
  }
  if (response.status === 413) throw new Refused({ code: 413, message: "It is too large for the server. Make it smaller." });
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    const said = text.trim().slice(0, 200);
    throw response.status >= 502
      ? new Unreachable(`The server cannot be reached (status ${response.status}). It is asked again.`)
      : new Refused({ code: response.status, message: said || `The server has answered with status ${response.status}.` });
  }
  if (answer.error) throw new Refused(answer.error);
  return answer.result;
}

/** What went wrong and what to do about it, for people. */
export function explain(error) {
  if (!(error instanceof Refused)) return error.message;
  const wait = error.data.retry_after_ms;
  switch (error.code) {
    case NOT_FOUND:
      return `${sentence(error.message)} It may have been removed, or kept no longer; look for it in the list.`;
    case -32005:
      return `The queue is full. Nothing was lost: try again in ${Math.max(1, Math.ceil((wait ?? 1000) / 1000))} s, or start more workers.`;
    case -32007:
      return `${sentence(error.message)} Try again in a moment; if it stays so, look at the queue's backend.`;
    case -32008:
      return wait ? `${sentence(error.message)} Try again in ${Math.ceil(wait / 1000)} s.` : sentence(error.message);
    case 429:
      return "Too many attempts with a wrong token. Wait a second, and try again.";
    default:
      return sentence(error.message);
  }
}

function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** A key that makes a call that is repeated do its work once. */
export function fresh() {
  // Not `randomUUID`, which plain http has on this machine only.
  return `console-${Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
