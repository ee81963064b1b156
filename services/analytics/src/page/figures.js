// Asks for the figures every two seconds and says so when they are no longer fresh.
"use strict";

const EVERY = 2000;
const byId = (id) => document.getElementById(id);
const count = new Intl.NumberFormat();
const money = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
let fresh = null;

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function cell(content) {
  const td = document.createElement("td");
  td.append(content);
  return td;
}

function row(item, most) {
  const meter = document.createElement("meter");
  meter.max = most;
  meter.value = item.quantity;
  const tr = document.createElement("tr");
  tr.append(cell(item.name), cell(meter), cell(count.format(item.quantity)), cell(money.format(item.revenue)));
  return tr;
}

function show(figures) {
  for (const name of ["orders", "confirmed", "ready", "cancelled"]) {
    byId(name).textContent = count.format(figures[name]);
  }
  byId("revenue").textContent = money.format(figures.revenue);
  byId("refunded").textContent = figures.refunded > 0 ? `${money.format(figures.refunded)} refunded` : "";
  byId("time").textContent = duration(figures.averageSecondsToReady);
  const most = figures.bestSellers[0]?.quantity ?? 1;
  byId("best").replaceChildren(...figures.bestSellers.map((item) => row(item, most)));
  byId("nothing").hidden = figures.bestSellers.length > 0;
}

async function refresh() {
  try {
    const answer = await fetch("/figures", { signal: AbortSignal.timeout(EVERY * 2) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    show(await answer.json());
    fresh = new Date();
    document.body.classList.remove("lost");
    byId("status").textContent = "live";
  } catch {
    document.body.classList.add("lost");
    byId("status").textContent = fresh
      ? `disconnected: figures of ${fresh.toLocaleTimeString()}; trying again`
      : "disconnected; trying again";
  }
  setTimeout(refresh, EVERY);
}

refresh();
