// Server-sent events that are known to be alive. The browser reconnects a broken stream by itself, but not
// one that was refused, and it does not notice a network that swallows everything; both are seen to here.

const SILENCE = 10_000; // the server beats every 4 s
const PAUSE = 2_000;

export function listen(url, hear) {
  let source, watchdog, retry;

  function again() {
    source?.close();
    clearTimeout(retry);
    source = new EventSource(url);
    source.addEventListener("board", (event) => { alive(); hear.board(JSON.parse(event.data)); });
    source.addEventListener("away", () => { alive(); hear.away(); });
    source.addEventListener("beat", alive);
    source.addEventListener("error", () => {
      hear.lost();
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(again, PAUSE);
    });
    alive();
  }

  function alive() {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => { hear.lost(); again(); }, SILENCE);
  }

  again();
  return { again };
}
