// Throughput as an area, active uploads as a line, over the last five minutes.

import { size } from "./text.js";

const SECONDS = 300;
const WIDTH = 800;
const HEIGHT = 180;
const GAP = 5;
const XMLNS = "http://www.w3.org/2000/svg";

export class Chart {
  constructor(svg, peak) {
    this.svg = svg;
    this.peak = peak;
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
    this.points = this.points.slice(-SECONDS);
  }

  replace(points) {
    this.points = points;
  }

  draw(now) {
    const shown = this.points.filter(([at]) => at > now - SECONDS);
    const most = Math.max(1024, ...shown.map((point) => point[1]));
    const many = Math.max(4, ...shown.map((point) => point[2]));
    const x = (at) => ((at - now + SECONDS) / SECONDS) * WIDTH;
    const runs = [];
    for (const point of shown) {
      const run = runs[runs.length - 1];
      if (run && point[0] - run[run.length - 1][0] < GAP) run.push(point);
      else runs.push([point]);
    }
    const line = (of, top) => (run) =>
      run.map((point, i) => `${i ? "L" : "M"}${x(point[0]).toFixed(1)},${(HEIGHT - (of(point) / top) * (HEIGHT - 12) - 2).toFixed(1)}`).join("");
    const rates = runs.map(line((point) => point[1], most));
    const areas = rates.map((text, i) => `${text}L${x(runs[i][runs[i].length - 1][0]).toFixed(1)},${HEIGHT}L${x(runs[i][0][0]).toFixed(1)},${HEIGHT}Z`);
    this.area.setAttribute("d", areas.join(""));
    this.rate.setAttribute("d", rates.join(""));
    this.count.setAttribute("d", runs.map(line((point) => point[2], many)).join(""));
    const uploads = Math.max(0, ...shown.map((point) => point[2]));
    const peak = `at most ${size(most)}/s, ${uploads} ${uploads === 1 ? "upload" : "uploads"}`;
    this.peak.textContent = shown.length ? peak : "";
    this.svg.setAttribute("aria-label", shown.length ? `Throughput and active uploads over five minutes: ${peak}` : "No figures yet");
  }
}
