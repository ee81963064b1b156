// The staff token: asked for once, kept until the tab is closed, sent as a header that no foreign page can
// send.

const KEY = "staff-token";
const find = (id) => document.getElementById(id);

export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const forgetToken = () => sessionStorage.removeItem(KEY);

// Resolves to whether there is a token now.
export function signIn(why) {
  const dialog = find("sign-in");
  if (dialog.open) return Promise.resolve(false);
  if (why) find("sign-in-why").textContent = why;
  dialog.returnValue = "";
  find("token").value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "given"), { once: true });
  });
}

find("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, find("token").value.trim());
  find("sign-in").close("given");
});
find("sign-in-cancel").addEventListener("click", () => find("sign-in").close(""));

export const get = (path) => ask(path, {});
export const post = (path) =>
  ask(path, { method: "POST", headers: { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` } });

// The answer, or an error whose message can be shown.
async function ask(path, request) {
  let response;
  try {
    response = await fetch(path, { ...request, signal: AbortSignal.timeout(8000) });
  } catch {
    throw Object.assign(new Error("The kitchen did not answer. Please try again."), { status: 0 });
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401) forgetToken();
  const message = response.status === 401
    ? "This staff token is not the right one. Please enter it again."
    : answer.detail ?? `The kitchen answered ${response.status}.`;
  throw Object.assign(new Error(message), { status: response.status });
}
