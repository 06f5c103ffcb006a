// Keeps a page true: listens for which parts changed, lets htmx fetch and morph them, and says so when it cannot.
"use strict";
(() => {
  const SILENCE_MS = 12000, AGAIN_MS = 2000;
  const link = document.getElementById("link"), stale = document.getElementById("stale"), clock = document.getElementById("clock");
  let source, skewMs = 0, heardMs = Date.now(), askedMs = heardMs, lostAt = null;

  const parts = () => [...document.querySelectorAll("[data-part]")];
  const hubNow = () => Date.now() + skewMs;
  const time = ms => new Date(ms).toISOString().slice(11, 19);

  function show(state, words) {
    if (link.dataset.state === state) return;
    link.dataset.state = state;
    link.lastElementChild.textContent = words;
    lostAt = state === "lost" ? lostAt ?? heardMs + skewMs : null;
    stale.hidden = state !== "lost";
    if (lostAt) stale.querySelector("b").textContent = `${time(lostAt)} UTC`;
  }

  function connect() {
    const watch = parts().map(part => `watch=${encodeURIComponent(`${part.dataset.part}~${part.dataset.digest}`)}`);
    source?.close();
    source = new EventSource(`/events?${watch.join("&")}`);
    source.addEventListener("beat", event => {
      heardMs = Date.now();
      skewMs = Number(event.data) / 1000 - heardMs;
      show("live", "Live");
    });
    source.addEventListener("changed", event => {
      heardMs = Date.now();
      const names = JSON.parse(event.data);
      for (const part of parts()) if (names.includes(part.dataset.part)) htmx.trigger(part, "changed");
    });
    source.addEventListener("error", () => {
      source.close();
      show("lost", "Not live");
      setTimeout(again, AGAIN_MS);
    });
    askedMs = Date.now();
  }

  // An EventSource does not tell why it failed; a plain request does: 401 means log in again.
  async function again() {
    const answer = await fetch("/parts/shell/status").catch(() => null);
    if (answer?.status === 401) location.reload();
    else if (!document.hidden) connect();
  }

  function ago(ms) {
    const s = Math.max(0, Math.floor((hubNow() - ms) / 1000));
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (s >= size) return `${Math.floor(s / size)} ${unit} ago`;
    return `${s} s ago`;
  }

  function tick() {
    clock.textContent = `${time(hubNow())} UTC`;
    for (const each of document.querySelectorAll("time[data-ago]")) {
      each.title ||= each.textContent;
      const words = ago(Date.parse(each.dateTime));
      if (each.textContent !== words) each.textContent = words;
    }
    if (source.readyState !== EventSource.CLOSED && Date.now() - Math.max(heardMs, askedMs) > SILENCE_MS) {
      source.close();
      show("lost", "Not live");
      again();
    }
  }

  document.addEventListener("htmx:after:swap", tick);
  document.addEventListener("htmx:response:error", event => { if (event.detail.ctx.response.status === 401) location.reload(); });
  // A browser opens six connections to one host: a page nobody looks at gives its own back.
  document.addEventListener("visibilitychange", () => {
    source.close();
    if (!document.hidden) connect();
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", event => { if (event.persisted) connect(); });
  connect();
  tick();
  setInterval(tick, 1000);
})();
