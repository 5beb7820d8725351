// Sign in, sign up: <form data-api="auth/signin"> becomes a JSON request; what is wrong appears beside its field.

import { api, ApiError } from "./api.js";

function clear(form) {
  for (const error of form.querySelectorAll("[data-error]")) error.hidden = true;
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

/** What the browser itself finds wrong, in our words. */
function precheck(form) {
  const errors = [...form.elements]
    .filter((input) => input.dataset.wrong && !input.validity.valid)
    .map((input) => ({ pointer: `/${input.name}`, detail: input.dataset.wrong }));
  return errors.length ? new ApiError(422, { errors }) : null;
}

function show(form, error) {
  const left = [];
  for (const [name, detail] of error.fields) {
    const place = form.querySelector(`[data-error="${CSS.escape(name)}"]`);
    if (!place) {
      left.push(detail);
      continue;
    }
    place.querySelector("[data-words]").textContent = detail;
    place.hidden = false;
    form.elements[name].setAttribute("aria-invalid", "true");
  }
  if (!error.fields.size || left.length) {
    const whole = form.querySelector('[data-error=""]');
    whole.querySelector("[data-words]").textContent = left.join(" ") || error.message;
    whole.hidden = false;
  }
  form.querySelector('[aria-invalid="true"]')?.focus();
}

/** Only a path of our own: never another site. */
function next(form) {
  const wanted = form.dataset.next ?? "";
  return /^\/(?![/\\])/.test(wanted) ? wanted : "/contests";
}

for (const form of document.querySelectorAll("form[data-api]")) {
  const button = form.querySelector('button[type="submit"]');
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear(form);
    const wrong = precheck(form);
    if (wrong) return show(form, wrong);
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    try {
      await api(form.dataset.api, { method: "POST", body: Object.fromEntries(new FormData(form)) });
      location.assign(next(form));
    } catch (error) {
      show(form, error);
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
  });
  button.disabled = false; // until here, the browser would have sent the form by itself, to a page that takes none
}

for (const button of document.querySelectorAll("[data-reveal]")) {
  const input = document.getElementById(button.dataset.reveal);
  button.addEventListener("click", () => {
    const hidden = input.type === "password";
    input.type = hidden ? "text" : "password";
    button.setAttribute("aria-pressed", String(hidden));
    input.focus();
  });
}
