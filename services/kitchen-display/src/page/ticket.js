// One ticket on the board. Its element lives as long as the ticket does, so that focus and scrolling
// survive every update.

const DUE = 3 * 60;
const LATE = 6 * 60;

export class Ticket {
  constructor(orderId, bump) {
    this.orderId = orderId;
    this.finishedHere = false;
    this.element = document.getElementById("ticket").content.firstElementChild.cloneNode(true);
    this.part = (name) => this.element.querySelector(`.${name}`);
    this.button = this.part("bump");
    this.button.addEventListener("click", () => bump(this));
    // A held key would start and finish in one go.
    this.button.addEventListener("keydown", (event) => event.repeat && event.preventDefault());
  }

  show(data, position) {
    if (this.state !== data.state) this.changedAt = this.state ? performance.now() : 0;
    this.state = data.state;
    this.title = `${data.customerId}, order ${this.orderId}`;
    this.placedAt = Date.parse(data.placedAt);
    this.element.dataset.state = data.state;
    this.part("number").textContent = position <= 9 ? position : "";
    this.part("name").textContent = data.customerId;
    this.part("name").title = data.customerId;
    this.part("order").textContent = `${data.state === "started" ? "In the making · " : ""}${short(this.orderId)}`;
    this.part("order").title = this.orderId;
    this.button.textContent = data.state === "started" ? "Finish" : "Start";
    this.button.setAttribute("aria-label", `${this.button.textContent} ${this.title}`);
    if (this.part("items").childElementCount === 0) this.part("items").append(...data.items.map(line));
  }

  tick(now) {
    const seconds = Math.max(0, Math.floor((now - this.placedAt) / 1000));
    this.part("age").textContent = age(seconds);
    this.element.dataset.age = seconds >= LATE ? "late" : seconds >= DUE ? "due" : "fresh";
  }

  busy(is) {
    this.button.setAttribute("aria-disabled", is);
  }

  isBusy() {
    return this.button.getAttribute("aria-disabled") === "true";
  }

  focus() {
    this.button.focus();
    this.element.scrollIntoView({ block: "nearest" });
  }

  hasFocus() {
    return document.activeElement === this.button;
  }
}

function line({ name, quantity }) {
  const item = document.createElement("li");
  const count = document.createElement("b");
  count.textContent = `${quantity}×`;
  const what = document.createElement("span");
  what.textContent = name;
  item.append(count, what);
  return item;
}

// The end of an id is what tells two of them apart.
function short(orderId) {
  return orderId.length > 16 ? `#…${orderId.slice(-8)}` : `#${orderId}`;
}

function age(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${two(seconds % 60)}`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${two(minutes % 60)}` : `${Math.floor(hours / 24)} days`;
}
