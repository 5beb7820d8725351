// Every request to /api/v1. Cookies carry the session; unsafe methods carry the CSRF token; an expired session is refreshed once and the request repeated.

const ROOT = "/api/v1/";
const token = document.querySelector('meta[name="csrf-token"]');
let refreshing = null;

/** What went wrong, as RFC 9457 says it. `fields` maps a field's name to its message; `status` 0 means that no answer came. */
export class ApiError extends Error {
  constructor(status, problem = {}, retryAfter = null) {
    super(problem.detail || problem.title || "Something went wrong on our side. Please try again.");
    this.status = status;
    this.retryAfter = retryAfter;
    this.fields = new Map((problem.errors ?? []).map((each) => [(each.pointer ?? "").replace(/^#?\//, ""), each.detail]));
  }
}

export function isSignedIn() {
  return Boolean(token?.content);
}

export function keepToken(answer) {
  if (answer?.csrf_token && token) token.content = answer.csrf_token;
}

/** Exchange the refresh cookie for a new session; callers at the same time share one exchange. Resolves to whether it worked. */
export function refresh() {
  refreshing ??= send("auth/refresh", { method: "POST" })
    .then((answer) => (keepToken(answer), true))
    .catch((error) => {
      if (error.status === 401 || error.status === 403) return false;
      throw error; // offline, overloaded: that says nothing about the session
    })
    .finally(() => (refreshing = null));
  return refreshing;
}

async function send(path, { method = "GET", body, headers = {}, signal } = {}) {
  const unsafe = method !== "GET";
  let answer;
  try {
    answer = await fetch(ROOT + path, {
      method,
      signal,
      credentials: "same-origin",
      headers: {
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(unsafe && token?.content ? { "x-csrf-token": token.content } : {}),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { detail: "The server cannot be reached. Check your connection; nothing was lost, try again." });
  }
  const isJson = (answer.headers.get("content-type") ?? "").includes("json");
  const content = isJson ? await answer.json().catch(() => ({})) : null;
  if (!answer.ok) throw new ApiError(answer.status, content ?? {}, Number(answer.headers.get("retry-after")) || null);
  return content;
}

/** Send a request and return the answer's JSON (null without one). Raises ApiError. */
export async function api(path, options = {}) {
  try {
    return await send(path, options);
  } catch (error) {
    if (error.status !== 401 || path.startsWith("auth/") || !isSignedIn()) throw error;
    if (!(await refresh())) throw error;
    return send(path, options);
  }
}

/** A key that makes a repeated POST the same POST. randomUUID exists only on secure origins. */
export function idempotencyKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
