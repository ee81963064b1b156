// The board: shows each snapshot the server sends, and sends what the barista does. Order data only ever
// becomes text, never markup.
import { listen } from "/connection.js";
import { forgetToken, get, hasToken, post, signIn } from "/staff.js";
import { Ticket } from "/ticket.js";
import { steer } from "/keys.js";

const find = (id) => document.getElementById(id);
const list = find("tickets");
const tickets = new Map(); // order id -> Ticket, in the order shown
let clockIsAhead = 0; // our clock minus the server's, in milliseconds
let first = true;
let movedAt = 0; // when tickets last moved under the barista's finger

const connection = listen("/board/events", {
  board: (frame) => {
    clockIsAhead = Date.now() - Date.parse(frame.now);
    show(frame);
    link("live");
  },
  away: () => link("away"),
  lost: () => link("lost"),
});

function show({ tickets: live, more }) {
  const hadFocus = [...tickets.values()].findIndex((ticket) => ticket.hasFocus());
  const now = new Set(live.map((ticket) => ticket.orderId));
  const gone = [...tickets.values()].filter((ticket) => !now.has(ticket.orderId));
  const come = live.filter((ticket) => !tickets.has(ticket.orderId));
  const before = new Map(tickets);
  tickets.clear();
  for (const data of live) {
    const ticket = before.get(data.orderId) ?? new Ticket(data.orderId, bump);
    tickets.set(data.orderId, ticket);
    ticket.show(data, tickets.size);
    if (list.children[tickets.size - 1] !== ticket.element) {
      list.insertBefore(ticket.element, list.children[tickets.size - 1] ?? null);
    }
  }
  for (const ticket of gone) ticket.element.remove();
  if (gone.length > 0) movedAt = performance.now();
  keepFocus(hadFocus);
  count(live, more);
  if (!first) announce(come, gone);
  first = false;
  tick();
}

function keepFocus(position) {
  const shown = [...tickets.values()];
  if (position < 0 || shown.length === 0 || shown.some((ticket) => ticket.hasFocus())) return;
  shown[Math.min(position, shown.length - 1)].focus();
}

function count(live, more) {
  const making = live.filter((ticket) => ticket.state === "started").length;
  const number = (n) => Object.assign(document.createElement("b"), { textContent: n });
  find("counts").replaceChildren(number(live.length - making), " to make · ", number(making), " in the making");
  find("empty").hidden = live.length > 0;
  find("more").hidden = more === 0;
  find("more").textContent = `and ${more >= 1000 ? "more than 1000" : more} more waiting`;
  document.title = live.length + more > 0 ? `(${live.length + more}) Kitchen` : "Kitchen";
}

function announce(come, gone) {
  const ours = gone.filter((ticket) => !ticket.finishedHere);
  const news = come.length > 3
    ? [`${come.length} new orders`]
    : come.map((ticket) => `New order for ${ticket.customerId}`);
  news.push(...ours.slice(0, 3).map((ticket) => `${ticket.title} left the board`));
  if (news.length > 0) find("news").textContent = news.join(". ");
  ours.filter((ticket) => ticket.state === "started").forEach(warn);
}

// Nobody should go on making what is no longer wanted.
async function warn(ticket) {
  const { state } = await get(`/tickets/${encodeURIComponent(ticket.orderId)}`).catch(() => ({}));
  if (state === "pulled") toast(`Cancelled, stop making it: ${ticket.title}`);
}

async function bump(ticket) {
  // A second tap of the same hand must not hit what has just moved or changed under it.
  if (ticket.isBusy() || performance.now() - Math.max(movedAt, ticket.changedAt) < 400) return;
  if (!hasToken() && !(await signIn())) return;
  const step = ticket.state === "started" ? "ready" : "start";
  ticket.busy(true);
  try {
    const answer = await post(`/tickets/${encodeURIComponent(ticket.orderId)}/${step}`);
    ticket.finishedHere = answer.state === "ready";
  } catch (problem) {
    toast(problem.message);
    if (problem.status === 401 && (await signIn(problem.message))) {
      ticket.busy(false);
      return bump(ticket);
    }
  } finally {
    ticket.busy(false);
    signedIn();
  }
}

const WORDS = {
  live: ["live", null],
  lost: ["disconnected", "Disconnected: this board may be out of date. Trying again…"],
  away: ["no database", "The kitchen cannot reach its database: this board may be out of date. Trying again…"],
};

function link(state) {
  const [word, warning] = WORDS[state];
  find("link").dataset.link = state === "away" ? "lost" : state;
  find("link").textContent = word;
  document.body.classList.toggle("old", warning !== null);
  if (find("banner").hidden === (warning === null) && find("banner").textContent === (warning ?? "")) return;
  find("banner").hidden = warning === null;
  find("banner").textContent = warning ?? "";
}

let toastTimer;
function toast(text) {
  clearTimeout(toastTimer);
  find("toast").textContent = text;
  find("toast").hidden = false;
  toastTimer = setTimeout(() => (find("toast").hidden = true), 6000);
}

function signedIn() {
  find("staff").textContent = hasToken() ? "Sign out" : "Sign in";
}

function tick() {
  const now = Date.now() - clockIsAhead;
  for (const ticket of tickets.values()) ticket.tick(now);
}

find("staff").addEventListener("click", async () => {
  if (hasToken()) forgetToken();
  else await signIn();
  signedIn();
});
steer(() => [...tickets.values()]);
setInterval(tick, 1000);
addEventListener("online", connection.again);
signedIn();
