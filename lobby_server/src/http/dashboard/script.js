"use strict";
// Everything from the server becomes text of an element, never markup.
const SHORT = {
  "none": "open", "full cone": "full cone", "restricted cone": "restricted", "port-restricted cone": "port-restr.",
  "address-sensitive symmetric": "symm. (addr.)", "port-sensitive symmetric": "symm. (port)", "firewall": "firewall",
  "udp blocked": "no UDP", "unknown": "unknown",
};
const LIMITS = {
  sessions: "players", rooms: "rooms", tcp_connections: "TCP connections", relay: "relay, Mbit/s",
  relay_day_bytes: "relay today", relay_month_bytes: "relay this month",
};
const OUTCOMES = ["direct", "relayed", "failed"];
const at = (id) => document.getElementById(id);

function make(tag, props = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") made.className = value;
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...inside);
  return made;
}

function shape(tag, props, ...inside) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

function count(value) {
  if (value >= 1e9) return (value / 1e9).toFixed(1) + " G";
  if (value >= 1e6) return (value / 1e6).toFixed(1) + " M";
  if (value >= 1e4) return (value / 1e3).toFixed(1) + " k";
  return String(Math.round(value));
}

function small(value) {
  if (value === 0) return "0";
  return value < 10 ? value.toFixed(value < 1 ? 2 : 1) : count(value);
}

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return (value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)) + " " + units[unit];
}

function span(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([length]) => seconds >= length);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).map(([length, unit], index) => {
    const whole = Math.floor((index ? seconds % parts[first][0] : seconds) / length);
    return whole || !index ? whole + " " + unit : "";
  }).join(" ").trim();
}

const percent = (part, all) => (all ? Math.round(part * 100 / all) : 0) + " %";
const grade = (part) => (part >= 0.9 ? "bad" : part >= 0.7 ? "fair" : "good");

function tile(name, value, rating = "good") {
  return make("div", { class: "tile " + rating }, make("span", {}, name), make("b", {}, value));
}

function tiles(status) {
  const now = status.now;
  const all = [
    tile("players", count(now.sessions)),
    tile("rooms", count(now.rooms)),
    tile("matches / min", small(now.matches_per_minute)),
    tile("matches running", count(now.matches)),
    tile("relay, Mbit/s", small(now.relay_bytes_per_s * 8 / 1e6), grade(now.relay_bytes_per_s / status.relay_cap)),
    tile("longest turn", small(now.lag_ms) + " ms", now.lag_ms >= 250 ? "bad" : now.lag_ms >= 50 ? "fair" : "good"),
    tile("datagrams lost", now.kernel_drops === null ? "not told" : count(now.kernel_drops), now.kernel_drops_lately ? "bad" : "good"),
    tile("processor", now.cpu === null ? "not told" : percent(now.cpu, 1), now.cpu >= 0.9 ? "bad" : "good"),
    tile("memory", now.memory_bytes === null ? "not told" : bytes(now.memory_bytes)),
    ...(now.nodes === null ? [] : [tile("nodes", count(now.nodes), now.nodes ? "good" : "bad")]),
  ];
  at("tiles").replaceChildren(...all);
}

function share(status) {
  const total = OUTCOMES.reduce((sum, name) => sum + status.outcomes[name], 0);
  const parts = OUTCOMES.filter((name) => status.outcomes[name] > 0).map((name) => {
    const part = make("div", { class: name });
    part.style.flexGrow = String(status.outcomes[name]);
    return part;
  });
  at("share").replaceChildren(...parts);
  at("share").setAttribute("aria-label", OUTCOMES.map((name) => name + " " + percent(status.outcomes[name], total)).join(", "));
  at("share-legend").replaceChildren(...OUTCOMES.map((name) => make("span", {},
    make("span", { class: "key " + name }), name + " " + percent(status.outcomes[name], total) + " (" + count(status.outcomes[name]) + ")")));
}

let chosen = null;

function tellPair(cells) {
  const pair = cells.find((cell) => cell.a + "|" + cell.b === chosen) || cells[0];
  if (!pair) return;
  const total = pair.direct + pair.relayed + pair.failed;
  const why = pair.causes.map((cause) => cause.text + " (" + count(cause.count) + ")").join(" ");
  at("pair").textContent = pair.a + " – " + pair.b + ": " + count(total) + " matches, direct " + percent(pair.direct, total) +
    ", relayed " + percent(pair.relayed, total) + ", failed " + percent(pair.failed, total) + ". " + why;
}

function heat(status) {
  const cells = status.pairs;
  if (!cells.length) return;
  const kinds = status.nat_kinds.filter((kind) => cells.some((cell) => cell.a === kind || cell.b === kind));
  const head = make("tr", {}, make("td"), ...kinds.map((kind) => make("th", { scope: "col" }, SHORT[kind] || kind)));
  const rows = kinds.map((row, index) => make("tr", {}, make("th", { scope: "row" }, SHORT[row] || row),
    ...kinds.slice(0, index + 1).map((column) => {
      const pair = cells.find((cell) => (cell.a === row && cell.b === column) || (cell.a === column && cell.b === row));
      if (!pair) return make("td");
      const total = pair.direct + pair.relayed + pair.failed;
      const score = (pair.direct + pair.relayed / 2) / total;
      const button = make("button", { type: "button", title: pair.a + " – " + pair.b }, String(Math.round(pair.direct * 100 / total)));
      button.setAttribute("aria-label", pair.a + " and " + pair.b + ": " + percent(pair.direct, total) + " direct");
      button.style.background = score > 0.5
        ? "color-mix(in oklab, var(--good) " + (score * 200 - 100) + "%, var(--fair))"
        : "color-mix(in oklab, var(--fair) " + score * 200 + "%, var(--bad))";
      button.onclick = () => { chosen = pair.a + "|" + pair.b; tellPair(cells); };
      return make("td", {}, button);
    })));
  at("heat").replaceChildren(make("div", { class: "scroll" }, make("table", { class: "heat" }, make("thead", {}, head), make("tbody", {}, ...rows))));
  tellPair(cells);
}

function connect(status) {
  const { bounds, direct, relayed } = status.connect;
  const most = Math.max(1, ...direct.map((value, index) => value + relayed[index]));
  const width = 100 / bounds.length;
  const columns = bounds.flatMap((_, index) => {
    const [low, high] = [direct[index] * 98 / most, relayed[index] * 98 / most];
    const column = (kind, y, height) => shape("rect", { class: "column-" + kind, x: index * width + width * 0.08, y, width: width * 0.84, height });
    return [column("direct", 100 - low, low), column("relayed", 100 - low - high, high)];
  });
  const svg = shape("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img" },
    shape("line", { class: "floor", x1: 0, x2: 100, y1: 100, y2: 100 }), ...columns);
  const total = direct.concat(relayed).reduce((sum, value) => sum + value, 0);
  svg.setAttribute("aria-label", "time to connect of " + total + " matches");
  const names = bounds.map((bound) => bound === null ? "more" : String(bound));
  at("connect").replaceChildren(svg, make("div", { class: "axis" }, ...names.map((name) => make("span", {}, name))));
  const half = (part) => part === null ? "–" : part + " s";
  at("connect-note").textContent = total
    ? "Seconds at most. Half of those who play directly were connected within " + half(status.connect.direct_half) +
      ", 95 % within " + half(status.connect.direct_most) + "; over the relay " + half(status.connect.relayed_half) + " and " + half(status.connect.relayed_most) + "."
    : "Nobody has been connected yet.";
}

function limits(status) {
  const meters = status.limits.map((limit) => {
    const isBytes = limit.name.endsWith("_bytes");
    const show = limit.name === "relay" ? small : isBytes ? bytes : count;
    const bar = make("div", {});
    bar.style.width = Math.min(100, limit.used * 100 / limit.max) + "%";
    return make("div", { class: "meter" },
      make("p", {}, make("span", {}, LIMITS[limit.name] || limit.name.replace(/day_bytes$/, "today").replace(/month_bytes$/, "this month")), make("span", {}, show(limit.used) + " of " + show(limit.max))),
      make("div", { class: "bar " + grade(limit.used / limit.max) }, bar));
  });
  at("limits").replaceChildren(...meters);
}

function table(heads, rows) {
  const cell = (tag, value, index) => make(tag, { class: index ? "number" : "" }, value);
  return make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((head, index) => cell("th", head, index)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((value, index) => cell("td", value, index))))));
}

function refused(status) {
  const rows = status.refused.map((one) => [one.what + ": " + one.reason, count(one.count)]);
  at("refused").replaceChildren(rows.length ? table(["what and why", "times"], rows) : make("p", { class: "note" }, "Nothing."));
}

function games(status) {
  const rows = status.games.map((game) => [game.game, count(game.sessions), count(game.matches),
    percent(game.direct, game.direct + game.relayed + game.failed), bytes(game.relayed_bytes)]);
  at("games").replaceChildren(rows.length ? table(["game", "players", "matches", "direct", "relayed"], rows) : make("p", { class: "note" }, "No game yet."));
}

function findings(status) {
  at("findings").replaceChildren(...status.findings.map((finding) =>
    make("p", { class: "finding" + (finding.serious ? " bad" : "") }, finding.text)));
}

function chart(name, samples, value, show) {
  // One sample makes a level line.
  const values = (samples.length > 1 ? samples : [samples[0], samples[0]]).map(value);
  const most = Math.max(...values, 0);
  const x = (index) => index * 100 / (values.length - 1);
  const points = values.map((number, index) => x(index).toFixed(2) + "," + (100 - (most ? number * 96 / most : 0)).toFixed(2));
  const svg = shape("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img" },
    shape("line", { class: "floor", x1: 0, x2: 100, y1: 100, y2: 100 }),
    shape("polygon", { class: "under", points: "0,100 " + points.join(" ") + " 100,100" }),
    shape("polyline", { class: "trend", points: points.join(" ") }));
  svg.setAttribute("aria-label", name + ": " + show(values[values.length - 1]) + " now, at most " + show(most));
  return make("div", { class: "chart" }, make("p", {}, make("span", {}, name),
    make("span", {}, show(values[values.length - 1]) + " · max " + show(most))), svg);
}

// The three outcomes on each other, by the minute.
function outcomesChart(samples) {
  const minutes = [];
  samples.forEach((sample) => {
    const minute = Math.floor(sample.at_s / 60);
    const last = minutes[minutes.length - 1];
    const into = last && last.minute === minute ? last : minutes[minutes.push({ minute, direct: 0, relayed: 0, failed: 0 }) - 1];
    OUTCOMES.forEach((name) => { into[name] += sample[name]; });
  });
  const most = Math.max(1, ...minutes.map((one) => one.direct + one.relayed + one.failed));
  const width = 100 / Math.max(minutes.length, 12);
  const columns = minutes.flatMap((one, index) => {
    let below = 0;
    return OUTCOMES.map((name) => {
      const height = one[name] * 96 / most;
      below += height;
      return shape("rect", { class: "area-" + name, x: index * width, y: 100 - below, width: width * 0.85, height });
    });
  });
  const svg = shape("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": "outcomes by the minute" },
    shape("line", { class: "floor", x1: 0, x2: 100, y1: 100, y2: 100 }), ...columns);
  return make("div", { class: "chart" }, make("p", {}, make("span", {}, "outcomes by the minute"),
    make("span", {}, "max " + count(Math.max(...minutes.map((one) => one.direct + one.relayed + one.failed))))), svg);
}

function history(past) {
  const samples = past.samples;
  if (!samples.length) return;
  at("charts").replaceChildren(
    chart("players", samples, (sample) => sample.sessions, count),
    chart("rooms", samples, (sample) => sample.rooms, count),
    chart("matches a minute", samples, (sample) => sample.matches_per_minute, small),
    outcomesChart(samples),
    chart("relay, Mbit/s", samples, (sample) => sample.relay_bytes_per_s * 8 / 1e6, small),
    chart("longest turn, ms", samples, (sample) => sample.lag_ms, small),
    chart("lost by the system", samples, (sample) => sample.kernel_drops, count),
    chart("refused", samples, (sample) => sample.refused, count),
    chart("processor, %", samples, (sample) => sample.cpu * 100, small),
  );
  const first = samples[0].at_s, last = samples[samples.length - 1].at_s;
  at("charts-note").textContent = "The last " + span(last - first + past.period_s) + ", a point each " + past.period_s + " s.";
}

function health(status) {
  const worst = Math.max(0, ...status.limits.map((limit) => limit.used / limit.max));
  const serious = status.findings.some((finding) => finding.serious) || status.now.kernel_drops_lately > 0 || status.now.lag_ms >= 250;
  const fair = status.findings.length > 0 || worst >= 0.7;
  return serious || worst >= 0.9 ? "bad" : fair ? "fair" : "good";
}

let answered = null;

function silent() {
  at("light").className = "light bad";
  const since = answered === null ? "" : " for " + span(Math.round((Date.now() - answered) / 1000));
  at("state").textContent = "the server does not answer" + since;
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(path + ": " + answer.status);
  return answer.json();
}

async function now() {
  if (document.hidden) return;
  try {
    const status = await ask("/status.json");
    answered = Date.now();
    at("version").textContent = status.version;
    at("key").textContent = status.key;
    at("light").className = "light " + health(status);
    at("state").textContent = "up for " + span(status.uptime_s);
    document.title = count(status.now.sessions) + " players – lobby_server";
    [findings, tiles, share, heat, connect, limits, refused, games].forEach((show) => show(status));
  } catch (error) {
    silent();
  }
}

async function past() {
  if (document.hidden) return;
  // `now` tells when there is no answer.
  try { history(await ask("/history.json")); } catch (error) { return; }
}

now();
past();
setInterval(now, 2000);
setInterval(past, 10000);
document.addEventListener("visibilitychange", () => { now(); past(); });
