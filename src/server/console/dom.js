// Elements, texts and questions. Whatever comes from the server becomes text here, never markup.

/** An element. `on` has listeners; `true` sets an attribute without a value, `false` and `null` leave it out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "value") {
      element.value = value;
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A button that does nothing more while what it does is under way. */
export function button(label, act, attributes = {}) {
  const element = h("button", { type: "button", ...attributes }, label);
  element.addEventListener("click", async () => {
    if (element.getAttribute("aria-disabled") === "true") return;
    // Not `disabled`, which would lose the focus.
    element.setAttribute("aria-disabled", "true");
    try {
      await act(element);
    } finally {
      element.removeAttribute("aria-disabled");
    }
  });
  return element;
}

/** Says something short to everybody: those who see, and those who hear. */
export function say(text, bad = false) {
  const place = document.getElementById("said");
  clearTimeout(say.timer);
  place.replaceChildren(h("p", { class: bad ? "bad" : "" }, text));
  say.timer = setTimeout(() => place.replaceChildren(), 8000);
}

/** What went wrong, as a paragraph that is read out at once. */
export function alarm(text) {
  return h("p", { class: "alarm", role: "alert" }, text);
}

/** Asks a question. Resolves to whether the answer is yes. */
export function ask(title, text, yes) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { "aria-labelledby": "ask-title", "aria-describedby": "ask-text" },
      h("h2", { id: "ask-title" }, title),
      h("p", { id: "ask-text" }, text),
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", on: { click: () => dialog.close("no") } }, "Cancel"),
        h("button", { type: "button", class: "main", on: { click: () => dialog.close("yes") } }, yes),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Makes the children of `parent` those of `items`, in their order. Elements of items that were there are kept where they
 * are and updated, so that focus, selection and place stay. `make(item)` returns an element with a method `update(item)`.
 */
export function reconcile(parent, items, key, make) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = new Set(items.map((item) => String(key(item))));
  for (const [name, child] of known) if (!wanted.has(name)) child.remove();
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    child.update(item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
}

/** Sets a text only where it has changed, so that nothing is read out or selected anew. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A block of text that may be wider than the page, and can be scrolled by the keyboard. */
export function block(text, label) {
  return h("pre", { class: "block", tabindex: "0", role: "region", "aria-label": label }, text);
}

/** What is shown where there is nothing yet. */
export function empty(title, ...text) {
  return h("div", { class: "empty" }, h("p", { class: "strong" }, title), h("p", {}, ...text));
}

/** Copies a text, as far as the browser lets pages do that. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("The browser does not let this page copy. Select the text and copy it by hand.", true);
  }
}
