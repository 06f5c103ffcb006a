// Draws the verdicts of a gateway: the server writes the series into the page, uPlot draws it, colours come from the tokens.
"use strict";
(() => {
  const DASH = { OK: [], NG: [], REVIEW: [7, 4], UNINSPECTED: [2, 4] };
  const drawn = new Map();
  // A custom property with light-dark() resolves only where it is used: ask an element that uses it.
  const probe = document.body.appendChild(Object.assign(document.createElement("i"), { hidden: true }));
  const token = name => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };

  const number = rate => rate.toLocaleString("en", { maximumFractionDigits: rate < 10 ? 1 : 0 }).replaceAll(",", "\u202f");

  function options(plot, names, zone) {
    const format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const axis = { stroke: token("--dim"), font: `${rem * .857}px Inter`, grid: { stroke: token("--faint"), width: 1 }, ticks: { show: false } };
    const clock = at => format.format(at * 1000);
    return {
      width: plot.clientWidth, height: plot.clientHeight - 1.9 * rem, padding: [8, 8, 0, 0],
      cursor: { sync: { key: "verdicts" }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 4)] } },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map(at => clock(at).slice(0, 5)), space: 5 * rem, size: 2 * rem },
        { ...axis, values: (_, ticks) => ticks.map(number), size: 3.6 * rem, space: 2.2 * rem },
      ],
      series: [
        { label: "at", value: (u, at) => clock(at ?? u.data[0].at(-1) ?? 0) },
        ...names.map(name => ({
          label: name, stroke: token(`--${name.toLowerCase()}`), width: 1.75, dash: DASH[name], points: { show: false },
          fill: name === "OK" ? token("--ok").replace("rgb(", "rgba(").replace(")", ", .12)") : undefined,
          value: (u, rate, i) => number(rate ?? u.data[i].at(-1) ?? 0),
        })),
      ],
    };
  }

  function draw(again) {
    for (const plot of document.querySelectorAll(".chart .plot")) {
      const { series, timezone } = plot.parentElement.dataset;
      const all = JSON.parse(series), names = plot.dataset.names.split(" ");
      const data = [all.t, ...names.map(name => all[name])];
      if (!again && drawn.has(plot)) { drawn.get(plot).setData(data); continue; }
      drawn.get(plot)?.destroy();
      drawn.set(plot, new uPlot(options(plot, names, timezone), data, plot));
    }
  }

  document.addEventListener("htmx:after:swap", () => draw(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(true));
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(true); } });
  document.fonts.ready.then(() => draw(true));
})();
