// The console: finds out who looks at it, shows the page that the address names, and how the connection stands.

import { alarm, h, put } from "./dom.js";
import * as dead from "./dead.js";
import * as job from "./job.js";
import * as library from "./library.js";
import { link, now, start, stop } from "./live.js";
import * as queue from "./queue.js";
import { NeedsToken, Unreachable, bus, call, explain, hasToken, setToken } from "./rpc.js";
import * as run from "./run.js";
import * as runs from "./runs.js";
import { refreshing } from "./refresh.js";

const $ = (id) => document.getElementById(id);
const main = $("main");

let me = null;
let view = null;

function pageOf(hash) {
  const [path, query] = hash.replace(/^#?\/?/, "").split("?");
  const [first, ...rest] = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  const params = { me, query: new URLSearchParams(query) };
  switch (first) {
    case "":
      return ["Run", run, params];
    case "runs":
      return ["Runs", runs, params];
    case "run":
      return ["Run", job, { ...params, id: rest[0] ?? "" }, "runs"];
    case "dead":
      return ["Dead letters", dead, params];
    case "queue":
      return ["Queue", queue, params];
    case "library":
      return [rest[0] ?? "Library", library, { ...params, name: rest[0] }];
    default:
      return ["Nothing here", null, params];
  }
}

function show(moved) {
  const [title, page, params, within] = pageOf(location.hash);
  view?.leave();
  view = null;
  main.replaceChildren();
  document.title = `${title} – marmot`;
  const first = within ?? location.hash.replace(/^#?\/?/, "").split(/[/?]/)[0];
  for (const entry of $("nav").children) {
    if (entry.getAttribute("href").replace("#/", "") === first) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  }
  // Each page has an element of its own, which is no part of the document any more once it is left.
  const place = h("div", { class: "view" });
  main.append(place);
  place.focus = () => main.focus();
  if (page) view = page.show(place, params);
  else place.append(h("h1", {}, "There is no such page."), h("p", {}, h("a", { href: "#/" }, "Run a script"), " or ", h("a", { href: "#/runs" }, "look at the runs"), "."));
  if (moved) {
    window.scrollTo(0, 0);
    // Those who do not see the page hear where they are now.
    const heading = main.querySelector("h1");
    heading?.setAttribute("tabindex", "-1");
    heading?.focus({ preventScroll: true });
  }
}

/** Asks for the token. `wrong`: the one that was given is not known. */
function askForToken(wrong) {
  view?.leave();
  view = null;
  stop();
  me = null;
  $("nav").hidden = true;
  $("forget").hidden = true;
  put($("tenant"), "");
  put($("dead-count"), "");
  $("dead-count").hidden = true;
  document.title = "Token – marmot";
  const field = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "token-help token-wrong" });
  const place = h("div", { id: "token-wrong" });
  const tell = (text) => {
    place.replaceChildren(alarm(text));
    field.setAttribute("aria-invalid", "true");
  };
  const form = h(
    "form",
    { class: "token panel", novalidate: true },
    h("h1", {}, "This server wants a token"),
    h("p", { id: "token-help" }, "It tells who you are. Whoever runs the server has given you one, or finds it in the file that the server reads its tokens from. It is kept until this tab is closed."),
    h("label", { for: "token" }, "Token"),
    field,
    place,
    h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, "Use this token")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const token = field.value.trim();
    if (!token) return tell("Type or paste a token.");
    // Headers cannot carry others, and no token has them.
    if (!/^[\x21-\x7e]+$/.test(token)) return tell("A token has no spaces and no special characters. Copy it again.");
    setToken(token);
    begin();
  });
  main.replaceChildren(h("div", { class: "view" }, form));
  if (wrong) tell("The server does not know this token. Look whether it was copied as a whole, and whether it was replaced by a new one.");
  field.focus();
}

bus.addEventListener("token", ({ detail }) => {
  setToken(null);
  askForToken(detail.wrong);
});

$("forget").addEventListener("click", () => {
  setToken(null);
  askForToken(false);
});

let waiting = 0;

/** Finds out who looks at the console, and shows the page. */
async function begin() {
  clearTimeout(waiting);
  try {
    me = await call("whoami");
  } catch (error) {
    if (error instanceof NeedsToken) return;
    if (error instanceof Unreachable) {
      main.replaceChildren(h("div", { class: "view" }, alarm(error.message)));
      waiting = setTimeout(begin, 2000);
      return;
    }
    // The token may be right: the server did not look at it.
    setToken(null);
    askForToken(false);
    $("token-wrong").replaceChildren(alarm(explain(error)));
    return;
  }
  $("nav").hidden = false;
  $("forget").hidden = !hasToken();
  put($("tenant"), hasToken() ? me.tenant : "");
  start();
  show(false);
}

function showLink() {
  const seconds = Math.max(1, Math.ceil((link.retryAt - Date.now()) / 1000));
  const text = {
    off: "",
    connecting: "Connecting…",
    open: "Connected",
    waiting: link.callsOnly ? "No live events; asking instead" : `Reconnecting in ${seconds} s`,
  }[link.state];
  $("link").dataset.state = link.state;
  put($("link"), text);
  // Not each second of the wait, for those who hear it.
  if (link.state === "open" || link.state === "waiting") put($("link-said"), link.state === "open" ? "Connected" : "The connection is lost. It is tried again.");
  const button = $("link-now");
  const focused = document.activeElement === button;
  button.hidden = link.state !== "waiting";
  if (focused && button.hidden) main.focus();
}

link.addEventListener("change", showLink);
setInterval(() => link.state === "waiting" && showLink(), 500);
$("link-now").addEventListener("click", now);

refreshing(async () => {
  if (!me) return;
  try {
    const { dead } = await call("queue.stats");
    const place = $("dead-count");
    place.hidden = dead === 0;
    put(place, dead ? String(dead) : "");
  } catch {
    // The page itself tells what is wrong.
  }
}, 5000);

// It leads into the page, not to another one.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

window.addEventListener("hashchange", () => me && show(true));

begin();
