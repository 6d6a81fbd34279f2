// Asks for things, and shows which tier answered. What the tiers did is read from Cache-Status (RFC 9211) alone.

const ROWS_MAX = 50;
const SHOWN = ["x-cache", "age", "x-amz-cf-pop", "via", "cache-status", "cache-control", "etag"];
const NAMES = { pop: "the POP", regional: "the regional", origin: "the origin" };
const byId = (id) => document.getElementById(id);

// Splits at a separator that stands outside of quotation marks.
function split(text, separator) {
  return text.match(new RegExp(`(?:"(?:\\\\.|[^"\\\\])*"|[^"${separator}])+`, "g")) ?? [];
}

// One object for each tier that handled the response, the one nearest to the viewer first.
function tiers(cacheStatus) {
  return split(cacheStatus ?? "", ",").reverse().map((member) => {
    const [name, ...parameters] = split(member, ";").map((part) => part.trim());
    const of = (key) => parameters.find((part) => part === key || part.startsWith(`${key}=`));
    return { name, hit: of("hit") !== undefined, why: of("fwd")?.slice(4) };
  });
}

// Who was asked on the way, and who answered.
function journey(headers) {
  const asked = tiers(headers.get("cache-status"));
  const places = ["pop", "regional"];
  const hit = asked.findIndex((tier) => tier.hit);
  if (hit >= 0) return { asked: places.slice(0, hit), by: places[hit] ?? "regional", tiers: asked };
  return { asked: places.slice(0, asked.length), by: "origin", tiers: asked };
}

function draw({ asked, by }) {
  const order = ["viewer", "pop", "regional", "origin"];
  for (const item of byId("path").children) {
    const tier = item.dataset.tier;
    const state = item.querySelector(".state");
    item.className = "";
    if (tier === by) {
      item.className = "reached answered";
      state.textContent = "answered";
    } else if (tier === "viewer" || asked.includes(tier)) {
      item.className = "reached";
      state.textContent = tier === "viewer" ? "asked" : "passed it on";
    } else {
      const passed = order.indexOf(tier) < order.indexOf(by);
      item.className = passed ? "skipped" : "idle";
      state.textContent = passed ? "passed by" : "not asked";
    }
  }
}

function verdict(request, answer, { asked, by, tiers: seen }) {
  const took = `The first byte came after ${milliseconds(answer.first)}.`;
  if (seen.length === 0) return `No cache on the way: ${request} went straight to the origin. ${took}`;
  if (by === "pop") return `The POP had it: nobody else was asked. ${took}`;
  if (by === "regional") return `The POP did not have it, its regional did. The origin was left alone. ${took}`;
  if (!asked.includes("regional")) return `The POP sent ${request} straight to the origin. ${took}`;
  return `Neither tier could answer, so the origin did. ${took} Ask again?`;
}

const milliseconds = (time) => (time < 1000 ? `${time.toFixed(time < 10 ? 1 : 0)} ms` : `${(time / 1000).toFixed(2)} s`);

function mark(xCache) {
  const span = document.createElement("span");
  span.textContent = xCache?.replace(/ from cloudfront$/i, "") ?? "none";
  const kinds = { Hit: "hit", RefreshHit: "refresh", Miss: "miss", Error: "error" };
  span.className = `mark ${kinds[span.textContent] ?? ""}`;
  span.title = xCache ?? "";
  return span;
}

function details(headers) {
  const box = document.createElement("details");
  const summary = document.createElement("summary");
  const text = document.createElement("pre");
  summary.textContent = "show";
  text.textContent = SHOWN.filter((name) => headers.has(name)).map((name) => `${name}: ${headers.get(name)}`).join("\n");
  box.append(summary, text);
  return box;
}

function list(request, answer, { by }) {
  const { headers, status, first, whole } = answer;
  const row = document.createElement("tr");
  const cells = [
    request, String(status), mark(headers.get("x-cache")), NAMES[by], headers.get("x-amz-cf-pop") ?? "none",
    headers.get("age") ?? "0", milliseconds(first), milliseconds(whole), details(headers),
  ];
  cells.forEach((content, place) => {
    const cell = document.createElement("td");
    if (place >= 5 && place <= 7) cell.className = "figure";
    cell.append(content);
    row.append(cell);
  });
  const body = byId("tries").tBodies[0];
  body.prepend(row);
  while (body.rows.length > ROWS_MAX) body.rows[ROWS_MAX].remove();
  byId("empty").hidden = true;
}

async function ask(path, method) {
  const start = performance.now();
  // The browser's own cache must not answer: this page is about the caches behind it.
  const response = await fetch(path, { method, cache: "no-store", body: method === "POST" ? "hello, origin" : null });
  const reader = response.body.getReader();
  const kept = response.headers.get("content-type")?.startsWith("image/") ? [] : null;
  let first = 0;
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    first ||= performance.now() - start;
    kept?.push(piece.value);
  }
  const whole = performance.now() - start;
  if (kept && response.ok) show(new Blob(kept, { type: response.headers.get("content-type") }));
  return { headers: response.headers, status: response.status, first: first || whole, whole };
}

// The very bytes that were just fetched: a second request for the picture would disturb what is shown here.
function show(picture) {
  const image = byId("picture");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(picture);
  image.hidden = false;
  byId("picture-caption").hidden = true;
}

async function pressed(button) {
  const method = button.dataset.method ?? "GET";
  const cold = 1000 + Math.floor(Math.random() * 1e6);
  const path = button.dataset.path === "cold" ? `/bytes/${cold}` : button.dataset.path;
  const request = `${method} ${path}`;
  const buttons = byId("buttons").querySelectorAll("button");
  buttons.forEach((one) => { one.disabled = true; });
  byId("path").classList.add("asking");
  byId("verdict").textContent = `Asking: ${request}`;
  try {
    const answer = await ask(path, method);
    const way = journey(answer.headers);
    draw(way);
    byId("verdict").textContent = verdict(request, answer, way);
    list(request, answer, way);
  } catch (error) {
    byId("verdict").textContent = `${request} got no whole answer: ${error.message}`;
  } finally {
    byId("path").classList.remove("asking");
    buttons.forEach((one) => { one.disabled = false; });
    button.focus();
  }
}

async function arrival() {
  const { headers } = await fetch(location.pathname, { method: "HEAD", cache: "no-store" });
  const pop = headers.get("x-amz-cf-pop");
  const { by } = journey(headers);
  byId("arrival").textContent = pop
    ? `This page reaches you through ${pop}, answered by ${NAMES[by]}.`
    : "You are reading this straight from the origin: there is no cache on the way.";
}

const trust = location.protocol === "https:" ? '--cacert "$(edgeproxy ca path)" ' : "";
document.querySelectorAll("[data-origin]").forEach((span) => { span.textContent = trust + location.origin; });
document.querySelectorAll("[data-host]").forEach((span) => { span.textContent = location.hostname; });
byId("buttons").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) pressed(button);
});
arrival().catch((error) => { byId("arrival").textContent = `The network did not answer: ${error.message}`; });
