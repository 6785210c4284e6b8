// Shows what the server says. Everything arrives as events; only older pages and one upload's timeline are asked for.

import { Chart } from "./chart.js";
import { clock, duration, name, percent, pod, size, speed, words } from "./text.js";

const $ = (id) => document.getElementById(id);
const chart = new Chart($("chart"), $("peak"), $("start"));
let active = [];
let latest = [];
let next = null;
let page = null;
let open = null;

function element(kind, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A row stays the same element while its upload is listed, so that nobody loses the focus
function list(parent, uploads, detail) {
  const rows = new Map([...parent.children].map((row) => [row.dataset.id, row]));
  uploads.forEach((upload, place) => {
    const row = rows.get(upload.id) || newRow(upload.id);
    rows.delete(upload.id);
    fill(row, upload, detail(upload));
    if (parent.children[place] !== row) parent.insertBefore(row, parent.children[place] || null);
  });
  for (const row of rows.values()) row.remove();
}

function newRow(id) {
  const row = element("li");
  row.dataset.id = id;
  const button = element("button", "name");
  button.type = "button";
  button.addEventListener("click", () => show(id));
  row.append(button, element("span", "badge"), element("progress"), element("span", "share"), element("span", "detail"));
  return row;
}

function fill(row, upload, detail) {
  const [button, badge, bar, share, text] = row.children;
  const done = percent(upload);
  put(button, name(upload));
  put(badge, upload.status);
  row.dataset.status = badge.dataset.status = upload.status;
  bar.max = 100;
  bar.setAttribute("aria-label", `Progress of ${name(upload)}`);
  if (done === null) bar.removeAttribute("value");
  else bar.value = done;
  put(share, done === null ? size(upload.offset) : `${done}%`);
  put(text, detail);
}

const running = (upload) =>
  words([
    `${size(upload.offset)} of ${size(upload.length)}`,
    speed(upload.rate),
    `pod ${pod(upload.holder) || "-"}`,
    `client ${upload.client || upload.owner || "not known"}`,
    `${duration(upload.age)} old`,
  ]);

const known = (upload) => words([size(upload.length ?? upload.offset), new Date(upload.created_at).toLocaleString()]);

function errors(list) {
  $("no-errors").hidden = list.length > 0;
  $("errors").replaceChildren(
    ...list.map((error) => {
      const row = element("li");
      row.append(element("code", "", error.code), element("time", "", clock(error.at * 1000)));
      row.append(element("span", "detail", words([error.status && `${error.method} ${error.status}`, error.client, error.upload && `upload ${error.upload.slice(0, 8)}`, error.pod && `pod ${error.pod}`])));
      return row;
    }),
  );
}

function now(seen) {
  state(seen.trouble || `Live, from ${seen.pod}`, seen.trouble ? "trouble" : "live");
  if (seen.trouble) return;
  const { statuses } = seen;
  put($("active-count"), `${seen.active_count}${seen.active_more ? " or more" : ""}`);
  chart.add(seen.points);
  const newest = seen.points.slice(-3);
  put($("throughput"), newest.length ? speed(newest.reduce((sum, point) => sum + point[1], 0) / newest.length) : "-");
  put($("completed"), statuses.completed.count.toLocaleString());
  put($("unfinished"), statuses.active.count.toLocaleString());
  put($("removed"), (statuses.cancelled.count + statuses.expired.count).toLocaleString());
  put($("success"), seen.success === null ? "-" : `${(Math.floor(seen.success * 1000) / 10).toFixed(1)}%`);
  chart.draw(seen.at);
  ({ active, latest, next } = seen);
  list($("active"), active, running);
  $("nobody").hidden = active.length > 0;
  if (page === null) turned(latest, next);
  errors(seen.errors);
}

function state(text, kind) {
  put($("state"), text);
  $("state").dataset.kind = kind;
}

async function ask(path, options) {
  const answer = await fetch(`dashboard/${path}`, { headers: { Accept: "application/json" }, ...options });
  if (answer.status === 401) location.reload();
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.message);
  return said;
}

function turned(uploads, following) {
  list($("latest"), uploads, known);
  $("none").hidden = uploads.length > 0;
  $("older").hidden = following === null;
}

async function turn(after) {
  const status = $("status").value;
  if (!status && !after) {
    page = null;
    turned(latest, next);
  } else {
    const query = new URLSearchParams({ limit: "25", ...(status && { status }), ...(after && { after }) });
    try {
      page = await ask(`uploads?${query}`);
      turned(page.uploads, page.next);
    } catch (error) {
      state(error.message, "trouble");
    }
  }
  $("newest").hidden = !after;
}

function older() {
  turn(page === null ? next : page.next);
}

async function show(id) {
  open = id;
  put($("said"), "");
  try {
    sheet(await ask(`uploads/${id}`));
  } catch (error) {
    put($("upload-name"), id);
    put($("said"), error.message);
  }
  if (!$("upload").open) $("upload").showModal();
}

function sheet(upload) {
  put($("upload-name"), name(upload));
  const done = percent(upload);
  const facts = {
    Id: upload.id,
    Status: upload.status,
    Progress: `${size(upload.offset)} of ${size(upload.length)}${done === null ? "" : ` (${done}%)`}`,
    Type: upload.media_type,
    Owner: upload.owner,
    Pod: upload.leased ? pod(upload.holder) : null,
    Client: active.find((each) => each.id === upload.id)?.client,
    Created: new Date(upload.created_at).toLocaleString(),
    Expires: upload.expires_at && new Date(upload.expires_at).toLocaleString(),
  };
  $("facts").replaceChildren(
    ...Object.entries(facts).filter(([, value]) => value).flatMap(([key, value]) => [element("dt", "", key), element("dd", "", value)]),
  );
  $("timeline").replaceChildren(
    ...upload.timeline.map((moment) => {
      const row = element("li");
      row.append(element("time", "", clock(moment.at)), element("strong", "", moment.what.replaceAll("_", " ")));
      row.append(element("span", "detail", words([`at ${size(moment.offset)}`, pod(moment.by)])));
      return row;
    }),
  );
  $("unlock").disabled = !upload.leased;
  $("cancel").disabled = upload.status !== "active" && upload.status !== "completed";
}

function sure(question, consequence, yes) {
  put($("question"), question);
  put($("consequence"), consequence);
  put($("yes"), yes);
  $("sure").returnValue = "";
  $("sure").showModal();
  $("no").focus();
  return new Promise((resolve) => {
    $("sure").addEventListener("close", () => resolve($("sure").returnValue === "yes"), { once: true });
  });
}

async function act(what, question, consequence, yes) {
  const id = open;
  if (!(await sure(question, consequence, yes))) return;
  try {
    await ask(`uploads/${id}/${what}`, { method: "POST" });
    await show(id);
    if (page !== null) await turn(null);
  } catch (error) {
    put($("said"), error.message);
  }
}

$("yes").addEventListener("click", () => $("sure").close("yes"));
$("no").addEventListener("click", () => $("sure").close("no"));
$("close").addEventListener("click", () => $("upload").close());
$("older").addEventListener("click", older);
$("newest").addEventListener("click", () => turn(null));
$("status").addEventListener("change", () => turn(null));
$("cancel").addEventListener("click", () =>
  act("cancel", "Cancel this upload?", "Its bytes are deleted, and nobody can continue or download it.", "Yes, cancel it"),
);
$("unlock").addEventListener("click", () =>
  act("unlock", "Unlock this upload?", "Whoever sends it now is cut off and may continue from the last saved byte.", "Yes, unlock it"),
);

const source = new EventSource("dashboard/events");
source.addEventListener("history", (event) => chart.replace(JSON.parse(event.data).points));
source.addEventListener("now", (event) => now(JSON.parse(event.data)));
source.addEventListener("error", () => {
  state("The server does not answer; trying again", "trouble");
  // After an answer that is no stream (the session has run out, the server starts) the browser does not try again
  if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
});
