"use strict";
// The table of statements: by words and by whether a claim tests them.
(() => {
  const search = document.getElementById("search"), kind = document.getElementById("kind");
  const rows = [...document.querySelectorAll(".statements tbody tr")], count = document.getElementById("count");
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(words.every(word => text.includes(word)) && (!kind.value || row.dataset.tested === kind.value));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  search.addEventListener("input", show);
  kind.addEventListener("change", show);
  show();
})();

// Plots with a slider: {x, x_label, y_label, limits: [x0, x1, y0, y1], steps: [{name, text, mark, curves}], curves}; a step
// without curves of its own shows those of the plot: [{name, color, dash, width, y}].
for (const figure of document.querySelectorAll(".interactive")) {
  const plot = JSON.parse(figure.querySelector("script").textContent);
  const svg = figure.querySelector("svg"), slider = figure.querySelector("input");
  const output = figure.querySelector("output"), readout = figure.querySelector(".readout");
  const [x0, x1, y0, y1] = plot.limits, left = 56, right = 612, top = 10, bottom = 318;
  const px = x => left + (x - x0) / (x1 - x0) * (right - left), py = y => bottom - (y - y0) / (y1 - y0) * (bottom - top);
  const make = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return svg.appendChild(element);
  };
  const draw = () => {
    const step = plot.steps[slider.value];
    svg.replaceChildren();
    for (let i = 0; i <= 5; i++) {
      const y = y0 + (y1 - y0) * i / 5;
      make("line", {x1: left, x2: right, y1: py(y), y2: py(y), stroke: "#e5e5e5"});
      make("text", {x: left - 6, y: py(y) + 4, "text-anchor": "end"}, +y.toPrecision(2));
    }
    for (let i = 0; i <= 4; i++) {
      const x = x0 + (x1 - x0) * i / 4;
      make("text", {x: px(x), y: bottom + 18, "text-anchor": "middle"}, +x.toPrecision(3));
    }
    make("text", {x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle"}, plot.x_label);
    make("text", {x: 14, y: (top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(top + bottom) / 2})`}, plot.y_label);
    for (const curve of step.curves || plot.curves) {
      let path = "", pen = "M";
      curve.y.forEach((y, i) => { if (y !== null && y >= y0 && y <= y1) { path += `${pen}${px(plot.x[i]).toFixed(1)} ${py(y).toFixed(1)}`; pen = "L"; } else pen = "M"; });
      make("path", {d: path, fill: "none", stroke: curve.color, "stroke-width": curve.width || 1.2, "stroke-dasharray": curve.dash || "none"});
    }
    if (step.mark !== undefined) make("line", {x1: px(step.mark), x2: px(step.mark), y1: top, y2: bottom, stroke: "#888", "stroke-dasharray": "4 3"});
    output.textContent = step.name;
    readout.textContent = step.text || "";
  };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    const x = x0 + ((event.clientX - box.left) * 640 / box.width - left) / (right - left) * (x1 - x0);
    let best = 0;
    plot.x.forEach((value, i) => { if (Math.abs(value - x) < Math.abs(plot.x[best] - x)) best = i; });
    const seen = new Map();
    for (const curve of plot.steps[slider.value].curves || plot.curves) if (curve.y[best] !== null) (seen.get(curve.name) || seen.set(curve.name, []).get(curve.name)).push(curve.y[best]);
    const words = [...seen].map(([name, ys]) => `${name}: ${ys.length > 1 ? `${Math.min(...ys).toPrecision(3)} to ${Math.max(...ys).toPrecision(3)}` : ys[0].toPrecision(3)}`);
    readout.textContent = `${plot.x_label} = ${+plot.x[best].toPrecision(3)} · ${words.join(" · ")}`;
  });
  slider.max = plot.steps.length - 1;
  slider.value = plot.start || 0;
  slider.addEventListener("input", draw);
  draw();
}
