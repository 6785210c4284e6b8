// Throughput as an area, active uploads as a line, over the last minute at first, and over the last five in the end.

import { size } from "./text.js";

const LEAST = 60;
const MOST = 300;
const SMOOTHED = 3;
const WIDTH = 800;
const HEIGHT = 180;
const GAP = 5;
const XMLNS = "http://www.w3.org/2000/svg";

export class Chart {
  constructor(svg, peak, start) {
    this.svg = svg;
    this.peak = peak;
    this.start = start;
    this.points = [];
    this.area = this.path("area");
    this.rate = this.path("rate");
    this.count = this.path("count");
  }

  path(kind) {
    const path = document.createElementNS(XMLNS, "path");
    path.setAttribute("class", kind);
    path.setAttribute("vector-effect", "non-scaling-stroke");
    return this.svg.appendChild(path);
  }

  add(points) {
    const last = this.points.length ? this.points[this.points.length - 1][0] : 0;
    this.points.push(...points.filter(([at]) => at > last));
    this.points = this.points.slice(-MOST);
  }

  replace(points) {
    this.points = points;
  }

  draw(now) {
    const shown = this.points.filter(([at]) => at > now - MOST);
    const minutes = Math.ceil(Math.min(MOST, Math.max(LEAST, shown.length ? now - shown[0][0] : 0)) / 60);
    const seconds = minutes * 60;
    const uploads = Math.max(0, ...shown.map((point) => point[2]));
    const many = Math.max(4, uploads);
    const x = (at) => ((at - now + seconds) / seconds) * WIDTH;
    const runs = [];
    for (const point of shown) {
      const run = runs[runs.length - 1];
      if (run && point[0] - run[run.length - 1][0] < GAP) run.push(point);
      else runs.push([point]);
    }
    const line = (of, top) => (run) =>
      run.map((point, i) => `${i ? "L" : "M"}${x(point[0]).toFixed(1)},${(HEIGHT - (of(point) / top) * (HEIGHT - 12) - 2).toFixed(1)}`).join("");
    // Servers count once a second, and this looks once a second: one look may see two counts, and the next one none
    const smooth = runs.map((run) => run.map(([at], i) => [at, mean(run.slice(Math.max(0, i - SMOOTHED + 1), i + 1).map((point) => point[1]))]));
    const fastest = Math.max(0, ...smooth.flat().map((point) => point[1]));
    const rates = smooth.map(line((point) => point[1], Math.max(1024, fastest)));
    const areas = rates.map((text, i) => `${text}L${x(runs[i][runs[i].length - 1][0]).toFixed(1)},${HEIGHT}L${x(runs[i][0][0]).toFixed(1)},${HEIGHT}Z`);
    this.area.setAttribute("d", areas.join(""));
    this.rate.setAttribute("d", rates.join(""));
    this.count.setAttribute("d", runs.map(line((point) => point[2], many)).join(""));
    const peak = `at most ${size(fastest)}/s, ${uploads} ${uploads === 1 ? "upload" : "uploads"}`;
    this.start.textContent = `${minutes} min ago`;
    this.peak.textContent = shown.length ? peak : "";
    this.svg.setAttribute("aria-label", shown.length ? `Throughput and active uploads over ${minutes} min: ${peak}` : "No figures yet");
  }
}

function mean(numbers) {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}
