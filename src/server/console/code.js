// Scripts on the page: one to be edited, and one to be looked at with the line of its error marked. Runs none.

import { h } from "./dom.js";

const INDENT = "    ";

/** Lets Tab indent and Shift+Tab take that back; after Escape, Tab leaves the field as everywhere else. */
function indent(area) {
  let leaving = false;
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      leaving = true;
      return;
    }
    if (event.key !== "Tab" || event.ctrlKey || event.altKey || event.metaKey) {
      if (event.key !== "Shift") leaving = false;
      return;
    }
    if (leaving) return;
    event.preventDefault();
    const { value, selectionStart: from, selectionEnd: to } = area;
    const first = value.lastIndexOf("\n", from - 1) + 1;
    if (!event.shiftKey && from === to) {
      const column = from - first;
      return insert(area, from, to, " ".repeat(INDENT.length - (column % INDENT.length)));
    }
    const lines = value.slice(first, to).split("\n");
    const changed = lines.map((line) => (event.shiftKey ? line.replace(/^ {1,4}/, "") : line && INDENT + line));
    const text = changed.join("\n");
    if (text === value.slice(first, to)) return;
    insert(area, first, to, text);
    if (from === to) area.setSelectionRange(...[Math.max(first, from - (lines[0].length - changed[0].length))].flatMap((at) => [at, at]));
    else area.setSelectionRange(first, first + text.length);
  });
  area.addEventListener("blur", () => {
    leaving = false;
  });
}

/** Puts a text in place of another, so that the browser can undo it. */
function insert(area, from, to, text) {
  area.setSelectionRange(from, to);
  // Deprecated and without a successor: `setRangeText` forgets what could be undone.
  if (!document.execCommand("insertText", false, text)) area.setRangeText(text, from, to, "end");
  area.dispatchEvent(new Event("input"));
}

/** An editor with line numbers. `mark(line)` marks a line, `go(line, column)` puts the cursor there. */
export function editor(attributes) {
  const numbers = h("div", { class: "numbers", "aria-hidden": "true" });
  const band = h("div", { class: "band", hidden: true });
  const area = h("textarea", {
    spellcheck: "false",
    autocapitalize: "off",
    autocomplete: "off",
    wrap: "off",
    ...attributes,
  });
  const frame = h("div", { class: "editor" }, h("div", { class: "gutter" }, numbers), h("div", { class: "page" }, band, area));
  let shown = 0;
  let marked = null;
  const height = () => Number.parseFloat(getComputedStyle(area).lineHeight);
  const place = () => {
    numbers.style.transform = `translateY(${-area.scrollTop}px)`;
    band.hidden = marked === null;
    if (marked !== null) band.style.transform = `translateY(${(marked - 1) * height() - area.scrollTop}px)`;
  };
  const count = () => {
    const lines = area.value.split("\n").length;
    if (lines === shown) return;
    shown = lines;
    numbers.textContent = Array.from({ length: lines }, (_, at) => at + 1).join("\n");
  };
  indent(area);
  area.addEventListener("input", () => {
    count();
    // The line may be another one now.
    frame.mark(null);
  });
  area.addEventListener("scroll", place, { passive: true });
  frame.area = area;
  frame.set = (text) => {
    area.value = text;
    count();
    frame.mark(null);
  };
  frame.mark = (line) => {
    marked = line;
    place();
  };
  frame.go = (line, column) => {
    const lines = area.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
    const at = Math.min(start + Math.max(0, (column ?? 1) - 1), start + (lines[line - 1] ?? "").length);
    area.focus();
    area.setSelectionRange(at, at);
    area.scrollTop = Math.max(0, (line - 4) * height());
  };
  count();
  return frame;
}

/** A script with numbered lines. The line of the error is marked, with what went wrong below it. */
export function listing(script, failure) {
  const rows = script.replace(/\n$/, "").split("\n").map((text, at) => {
    const line = at + 1;
    const bad = failure?.line === line;
    const row = h("div", { class: bad ? "code-line bad" : "code-line" }, h("span", { class: "number", "aria-hidden": "true" }, line), h("code", {}, text || " "));
    if (!bad) return row;
    row.prepend(h("span", { class: "hidden" }, `Line ${line}, the error is here: `));
    const before = [...text].slice(0, Math.max(0, (failure.column ?? 1) - 1)).map((c) => (c === "\t" ? c : " ")).join("");
    return [
      row,
      h(
        "div",
        { class: "code-line why" },
        h("span", { class: "number", "aria-hidden": "true" }),
        h("code", {}, h("span", { "aria-hidden": "true" }, failure.column ? `${before}^ ` : ""), failure.message.split("\n")[0]),
      ),
    ];
  });
  return h("div", { class: "block listing", tabindex: "0", role: "region", "aria-label": "Script" }, h("div", { class: "rows" }, rows));
}
