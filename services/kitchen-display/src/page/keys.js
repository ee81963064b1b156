// The keyboard: digits pick, arrows move, Enter is the button's own key.

export function steer(tickets) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const target = aim(event.key, tickets());
    if (!target) return;
    event.preventDefault();
    target.focus();
  });
}

function aim(key, tickets) {
  if (/^[1-9]$/.test(key)) return tickets[Number(key) - 1];
  const at = tickets.findIndex((ticket) => ticket.hasFocus());
  switch (key) {
    case "Home": return tickets[0];
    case "End": return tickets.at(-1);
    case "ArrowRight": return tickets[Math.min(at + 1, tickets.length - 1)];
    case "ArrowLeft": return tickets[Math.max(at - 1, 0)];
    case "ArrowDown": return at < 0 ? tickets[0] : nearest(tickets, at, 1);
    case "ArrowUp": return at < 0 ? tickets[0] : nearest(tickets, at, -1);
    default: return undefined;
  }
}

// The ticket in the next row whose middle is closest.
function nearest(tickets, at, direction) {
  const boxes = tickets.map((ticket) => ticket.element.getBoundingClientRect());
  const beyond = boxes.filter((box) => direction * (box.top - boxes[at].top) > 1);
  if (beyond.length === 0) return tickets[at];
  const row = beyond.map((box) => box.top).reduce((a, b) => (direction * (a - b) < 0 ? a : b));
  const distance = (box) => Math.abs(box.left - boxes[at].left);
  const inRow = boxes.map((box, n) => [box, n]).filter(([box]) => Math.abs(box.top - row) <= 1);
  return tickets[inRow.reduce((a, b) => (distance(a[0]) <= distance(b[0]) ? a : b))[1]];
}
