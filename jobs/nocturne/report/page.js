// Draws the charts whose data the page contains, in the reader's light or dark colours.
(function () {
  "use strict";
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function config() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue("--" + name).trim();
    const text = { labelColor: color("soft"), titleColor: color("soft"), labelFont: "system-ui, sans-serif", labelFontSize: 11 };
    return {
      background: "transparent",
      font: "system-ui, sans-serif",
      view: { stroke: null },
      axis: { ...text, gridColor: color("line"), domainColor: color("line"), tickColor: color("line"), labelLimit: 130 },
      range: { heatmap: [1, 2, 3, 4, 5, 6].map((i) => color("heat" + i)) },
      style: {
        baseline: { color: color("baseline") },
        current: { color: color("current"), strokeWidth: 2 },
        currentBar: { color: color("current") },
        innerBand: { color: color("current"), opacity: 0.3 },
        outerBand: { color: color("current"), opacity: 0.16 },
        ordinaryRange: { color: color("current"), fillOpacity: 0.16, stroke: color("soft"), strokeWidth: 1 },
        promotion: { color: color("current"), strokeDash: [2, 3], strokeWidth: 1 },
        reference: { color: color("soft"), strokeDash: [4, 4], strokeWidth: 1 },
        cell: { stroke: color("card"), strokeWidth: 1 },
        alarm: { color: color("card"), filled: true, opacity: 1 },
        touch: { opacity: 0 },
      },
    };
  }

  async function draw() {
    const options = { mode: "vega-lite", actions: false, renderer: "svg", ast: true, config: config(), tooltip: { theme: dark.matches ? "dark" : "light" } };
    for (const { id, spec } of charts) {
      const place = document.getElementById(id);
      try {
        await vegaEmbed(place, spec, options);
      } catch (error) {
        place.textContent = "This chart could not be drawn: " + error.message;
      }
    }
    document.documentElement.dataset.drawn = "yes";
  }

  // On the page Scoring, in a sandbox without the reader's cookie, that page follows the links.
  document.addEventListener("click", (event) => {
    const open = event.target.closest?.("a[href]")?.getAttribute("href") ?? "#";
    if (open.startsWith("#") || window.parent === window) return;
    event.preventDefault();
    window.parent.postMessage({ open }, "*");
  });

  dark.addEventListener("change", draw);
  draw();
})();
