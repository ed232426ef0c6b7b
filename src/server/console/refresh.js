// Looking again by itself: every few seconds while the page is seen, and at once when it is seen again or connected again.

import { link } from "./live.js";

const EVERY = 3000;

/** Calls `load` now and then. One call at a time. Returns what ends it. */
export function refreshing(load, every = EVERY) {
  let busy = false;
  let ended = false;
  const again = async () => {
    if (busy || ended || document.hidden) return;
    busy = true;
    try {
      await load();
    } finally {
      busy = false;
    }
  };
  // Without a connection the calls would fail too; `change` tells when there is one.
  const tick = () => (link.state === "open" || link.callsOnly) && again();
  const connected = () => link.state === "open" && again();
  const timer = setInterval(tick, every);
  link.addEventListener("change", connected);
  document.addEventListener("visibilitychange", again);
  again();
  return () => {
    ended = true;
    clearInterval(timer);
    link.removeEventListener("change", connected);
    document.removeEventListener("visibilitychange", again);
  };
}
