// Registering for a contest and withdrawing from it.

import { api } from "./api.js";
import { toast } from "./dom.js";

for (const button of document.querySelectorAll("[data-registration]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    try {
      await api(`contests/${button.dataset.contest}/registration`, { method: button.dataset.registration });
      location.reload();
    } catch (error) {
      if (error.status === 401) return location.assign(`/signin?next=${encodeURIComponent(location.pathname)}`);
      toast(error.message);
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
  });
  button.disabled = false; // until here, a click would have done nothing
}
