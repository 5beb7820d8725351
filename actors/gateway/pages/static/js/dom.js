// Building elements without markup strings: text is always text.

const SVG = "http://www.w3.org/2000/svg";
const sprite = document.querySelector('meta[name="icons"]')?.content ?? "";

/** Make an element: el("td", { class: "end", title: "…" }, "text", child). Attributes that are null or false are left out. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `${sprite}#${name}` }));
}

/** The same drawing as the template's balloon macro. */
export function balloon(colourClass, hollow = false) {
  return svg(
    "svg",
    { class: `balloon ${colourClass}${hollow ? " balloon-hollow" : ""}`, viewBox: "0 0 20 26", "aria-hidden": "true" },
    svg("path", { class: "balloon-string", d: "M10 19.600c-1.600 2 1.600 3.200 0 5.900" }),
    svg("path", { class: "balloon-body", d: "M10 1.200c4.600 0 7.800 3.500 7.800 7.800 0 4.800-4.200 8.300-6.700 9.300l.9 1.600H8l.9-1.600C6.400 17.300 2.200 13.800 2.200 9c0-4.300 3.200-7.800 7.800-7.800z" }),
    svg("ellipse", { class: "balloon-shine", cx: "7.200", cy: "6.400", rx: "1.500", ry: "2.400", transform: "rotate(24 7.200 6.400)" }),
  );
}

const polite = document.getElementById("polite");

/** Say something to those who listen instead of look. */
export function announce(text) {
  if (!polite) return;
  polite.textContent = "";
  requestAnimationFrame(() => (polite.textContent = text));
}

export function toast(text, name = "alert") {
  const box = document.getElementById("toasts");
  if (!box) return;
  const made = el("div", { class: "toast", role: "status" }, icon(name), text);
  while (box.children.length > 2) box.firstChild.remove();
  box.append(made);
  setTimeout(() => made.remove(), 6000);
}

export const calm = matchMedia("(prefers-reduced-motion: reduce)");
