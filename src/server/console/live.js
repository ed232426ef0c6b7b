// The WebSocket: one for the page, opened again when it is lost; subscriptions go on where they were. Shows nothing.

import { NeedsToken, Refused, call, hasToken } from "./rpc.js";

/** How long to wait before the next try, in milliseconds. */
const PAUSES = [500, 1000, 2000, 4000, 8000, 15_000];
/** A connection that was silent for so long is asked for a sign of life; after twice that it is given up. */
const SILENCE = 20_000;
/** How often events are asked for where the way is open to calls only. */
const ASK = 2000;

/** Tells of `change`. `link.state` is one of `off`, `connecting`, `open`, `waiting`. */
export const link = Object.assign(new EventTarget(), { state: "off", retryAt: 0, callsOnly: false });

let socket = null;
let tries = 0;
let timer = 0;
let round = 0;
let heard = 0;
let number = 0;
const followers = new Set();
const asked = new Map();

function become(state) {
  link.state = state;
  link.dispatchEvent(new Event("change"));
}

export function start() {
  tries = 0;
  open();
}

/** Ends the connection, until `start`. */
export function stop() {
  round += 1;
  clearTimeout(timer);
  socket?.close();
  socket = null;
  become("off");
}

/** Does not wait for the next try. */
export function now() {
  if (link.state === "waiting") open();
}

async function open() {
  clearTimeout(timer);
  const mine = ++round;
  become("connecting");
  const address = new URL("ws/", document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  try {
    // A browser does not tell why a WebSocket is refused; a call does.
    if (hasToken()) address.searchParams.set("ticket", (await call("session.ticket")).ticket);
    else await call("whoami");
  } catch (error) {
    if (mine !== round) return;
    // The page asks for another token, and starts again with it.
    if (error instanceof NeedsToken) return stop();
    return lost(false);
  }
  if (mine !== round) return;
  const opening = new WebSocket(address);
  socket = opening;
  let opened = false;
  opening.addEventListener("open", () => {
    if (socket !== opening) return opening.close();
    opened = true;
    tries = 0;
    link.callsOnly = false;
    heard = Date.now();
    asked.clear();
    for (const follower of followers) subscribe(follower);
    become("open");
  });
  opening.addEventListener("message", ({ data }) => {
    heard = Date.now();
    take(JSON.parse(data));
  });
  opening.addEventListener("close", () => {
    if (socket !== opening) return;
    socket = null;
    // Calls go through and WebSockets do not: something between here and there does not know them.
    lost(!opened);
  });
}

function lost(callsOnly) {
  const pause = PAUSES[Math.min(tries, PAUSES.length - 1)] * (0.75 + Math.random() / 2);
  tries += 1;
  link.callsOnly = callsOnly && tries > 1;
  link.retryAt = Date.now() + pause;
  timer = setTimeout(open, pause);
  become("waiting");
}

function send(method, params, follower) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  number += 1;
  if (follower) asked.set(number, follower);
  socket.send(JSON.stringify({ jsonrpc: "2.0", id: number, method, params }));
}

function subscribe(follower) {
  follower.subscription = null;
  send("job.subscribe", { job_id: follower.id, from_seq: follower.next }, follower);
}

function take(message) {
  if (message.method === "job.event") {
    const event = message.params;
    for (const follower of followers) if (follower.id === event.job_id) hand(follower, event);
    return;
  }
  const follower = asked.get(message.id);
  asked.delete(message.id);
  if (!follower) return;
  if (message.error) follower.failed(new Refused(message.error));
  else if (followers.has(follower)) follower.subscription = message.result;
  // It was given up before the answer came.
  else send("job.unsubscribe", { subscription: message.result });
}

function hand(follower, event) {
  if (event.kind === "lagged") {
    const next = event.from_seq + event.missed;
    if (next <= follower.next) return;
    follower.next = next;
    follower.lagged(event.missed);
  } else if (event.seq >= follower.next) {
    // What is told twice, by an old subscription and a new one, is taken once.
    follower.next = event.seq + 1;
    follower.event(event);
  }
}

/**
 * Follows a job from its event `next` on, over as many connections as it takes. `on` has `event(event)`, `lagged(missed)`
 * and `failed(error)`. Returns what ends it.
 */
export function follow(id, next, on) {
  const follower = { id, next, subscription: null, ...on };
  followers.add(follower);
  subscribe(follower);
  return () => {
    followers.delete(follower);
    if (follower.subscription !== null) send("job.unsubscribe", { subscription: follower.subscription });
  };
}

setInterval(async () => {
  if (!link.callsOnly || link.state === "open") return;
  for (const follower of [...followers]) {
    try {
      const from = follower.next;
      const { events, missed } = await call("job.events", { job_id: follower.id, from_seq: from });
      if (!followers.has(follower)) continue;
      if (missed) hand(follower, { kind: "lagged", from_seq: from, missed });
      for (const event of events) hand(follower, event);
    } catch (error) {
      if (error instanceof Refused) follower.failed(error);
    }
  }
}, ASK);

setInterval(() => {
  if (link.state !== "open") return;
  const silence = Date.now() - heard;
  if (silence > 2 * SILENCE) {
    // A connection whose other end is gone may take minutes to say so.
    const old = socket;
    socket = null;
    old?.close();
    lost(false);
  } else if (silence > SILENCE) {
    send("whoami", {});
  }
}, SILENCE / 4);

window.addEventListener("online", now);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) now();
});
