// The editor: a real <textarea> (so the keyboard, screen readers, spell-out and undo are the browser's own) over a painted <pre>.
// Both lie in one box that scrolls, so they cannot drift apart. Escape, then Tab leaves it by keyboard.

import * as edit from "./edit.js";
import { Painter } from "./highlight.js";

const PAINT_MOST = 120_000; // characters; beyond that the text stays plain
const INDENT_BY_COLON = /^(python|pypy)/;
const COMMENT = { python: "#", python3: "#", pypy: "#", pypy3: "#" };

export class Editor {
  /** `box` is the .ed element. `onChange(text)` is called after each edit, `onSubmit(shift)` on Ctrl+Enter. */
  constructor(box, { onChange = () => {}, onSubmit = () => {} } = {}) {
    this.box = box;
    this.text = box.querySelector(".ed-text");
    this.gutter = box.querySelector(".ed-gutter");
    this.painter = new Painter(box.querySelector(".ed-under"));
    this.language = "";
    this.lines = 0;
    this.leaving = false;
    this.onChange = onChange;
    this.onSubmit = onSubmit;
    this.text.addEventListener("input", () => {
      this.repaint();
      this.onChange(this.value);
    });
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.text.addEventListener("blur", () => (this.leaving = false));
    box.addEventListener("mousedown", (event) => {
      if (event.target === box || event.target === this.gutter) {
        event.preventDefault();
        this.text.focus();
      }
    });
    this.repaint();
  }

  get value() {
    return this.text.value;
  }

  /** Replace everything; not an edit, so it cannot be undone and onChange is not called. */
  set(value, language = this.language) {
    this.language = language;
    this.text.value = value;
    this.repaint();
  }

  /** Replace everything as an edit that Ctrl+Z takes back; `select` is where the caret stands then. */
  replace(value, select = [0, 0]) {
    this.apply({ from: 0, to: this.value.length, insert: value, select });
  }

  repaint() {
    const { value } = this.text;
    const lines = value.split("\n").length;
    if (lines !== this.lines) {
      this.gutter.textContent = Array.from({ length: lines }, (_, i) => i + 1).join("\n");
      this.lines = lines;
    }
    this.painter.paint(value, value.length > PAINT_MOST ? "" : this.language);
    this.box.classList.add("is-lit");
  }

  apply(change) {
    const { text } = this;
    text.focus();
    text.setSelectionRange(change.from, change.to);
    // execCommand is the one way that keeps the browser's undo history; where it is gone, setRangeText still edits.
    const done =
      change.from === change.to && change.insert === ""
        ? true
        : change.insert === ""
          ? document.execCommand("delete")
          : document.execCommand("insertText", false, change.insert);
    if (!done) {
      text.setRangeText(change.insert, change.from, change.to, "end");
      text.dispatchEvent(new Event("input", { bubbles: true }));
    }
    text.setSelectionRange(...change.select);
    this.reveal();
  }

  /** Scroll to the caret: browsers do so for their own edits, not for ours. */
  reveal() {
    const { box, text } = this;
    const before = text.value.slice(0, text.selectionEnd);
    const style = getComputedStyle(text);
    const height = parseFloat(style.lineHeight);
    const top = parseFloat(style.paddingTop) + (before.split("\n").length - 1) * height;
    if (top < box.scrollTop + height) box.scrollTop = top - height;
    else if (top + 2 * height > box.scrollTop + box.clientHeight) box.scrollTop = top + 2 * height - box.clientHeight;
    if (before.length - before.lastIndexOf("\n") < 16) box.scrollLeft = 0;
  }

  key(event) {
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key === "Enter") {
      event.preventDefault();
      this.onSubmit(event.shiftKey);
      return;
    }
    if (event.key === "Escape") {
      this.leaving = true;
      return;
    }
    if (event.isComposing || event.altKey) return;
    const change = this.change(event, command);
    if (change) {
      event.preventDefault();
      this.apply(change);
    }
    if (event.key !== "Shift") this.leaving = false;
  }

  change(event, command) {
    const { value, selectionStart: from, selectionEnd: to } = this.text;
    if (command) return event.key === "/" ? edit.comment(value, from, to, COMMENT[this.language] ?? "//") : null;
    switch (event.key) {
      case "Tab":
        if (this.leaving) return null;
        event.preventDefault();
        return event.shiftKey ? edit.outdent(value, from, to) : edit.indent(value, from, to);
      case "Enter":
        return edit.newline(value, from, to, { colon: INDENT_BY_COLON.test(this.language) });
      case "Backspace":
        return edit.backspace(value, from, to);
      default:
        return event.key.length === 1 ? edit.pair(value, from, to, event.key) : null;
    }
  }
}
