// The page of the API's descriptions: lists the operations of both OpenAPI documents and sends requests with the reader's token.
// Nothing here makes HTML of text: what servers answer is only ever shown as text.
"use strict";

const DOCUMENTS = ["/api/jit/v1/openapi.json", "/data/v1/openapi.json"];
const METHODS = ["get", "post", "put", "delete", "patch"];
const MOST_CHARACTERS = 200000;

let token = "";
let operations = [];
let running = null;

const find = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== ""));
  return made;
}

async function call(method, path, { body, type, signal } = {}) {
  const headers = { Authorization: `Bearer ${token}` };
  if (type) headers["Content-Type"] = type;
  // No cookies, no redirects to elsewhere, nothing kept.
  return fetch(path, { method, headers, body, signal, credentials: "omit", redirect: "error", cache: "no-store" });
}

async function told(response) {
  const text = await response.text();
  try { return JSON.parse(text).message || text; } catch { return text; }
}

find("entry").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = find("token").value.trim();
  find("token").value = "";
  const who = find("who");
  who.className = "";
  who.textContent = "…";
  try {
    const answer = await call("GET", "/api/jit/v1/whoami");
    if (!answer.ok) throw new Error(await told(answer));
    const identity = await answer.json();
    const documents = [];
    for (const path of DOCUMENTS) {
      const found = await call("GET", path);
      if (found.ok) documents.push(await found.json());
    }
    operations = documents.flatMap(operationsOf);
    who.textContent = `${identity.subject || "known"}, ${operations.length} operations`;
    find("search").disabled = false;
    list();
    show(operations.find((one) => `#${one.id}` === location.hash));
  } catch (error) {
    token = "";
    operations = [];
    find("search").disabled = true;
    find("index").replaceChildren();
    who.className = "bad";
    who.textContent = error.message;
  }
});

function operationsOf(spec) {
  const found = [];
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((name) => methods[name])) {
      const one = methods[method];
      const parameters = [...(methods.parameters || []), ...(one.parameters || [])].map((p) => resolved(spec, p));
      found.push({ spec, path, method, id: one.operationId, summary: one.summary || "", about: one.description || "",
                   tag: `${(one.tags || ["Other"])[0]} (${spec.info.title})`, parameters, body: one.requestBody, responses: one.responses || {} });
    }
  }
  return found;
}

function resolved(spec, value) {
  for (let depth = 0; value && value.$ref && depth < 10; depth += 1) {
    value = value.$ref.replace("#/", "").split("/").reduce((at, part) => at && at[part.replaceAll("~1", "/").replaceAll("~0", "~")], spec);
  }
  return value || {};
}

function list() {
  const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (one) => words.every((word) => `${one.method} ${one.path} ${one.id} ${one.summary} ${one.tag}`.toLowerCase().includes(word));
  const groups = new Map();
  for (const one of operations.filter(fits)) {
    if (!groups.has(one.tag)) groups.set(one.tag, []);
    groups.get(one.tag).push(one);
  }
  const link = (one) => element("a", { href: `#${one.id}`, title: one.path, "data-id": one.id },
    element("small", { class: "method" }, one.method.toUpperCase()), element("span", {}, one.summary || one.path));
  find("index").replaceChildren(...[...groups].map(([tag, some]) =>
    element("details", { open: words.length > 0 }, element("summary", {}, `${tag} · ${some.length}`), ...some.map(link))));
}

find("search").addEventListener("input", list);
window.addEventListener("hashchange", () => show(operations.find((one) => `#${one.id}` === location.hash)));

function example(spec, schema, depth = 0) {
  const known = resolved(spec, schema);
  if (known.example !== undefined) return known.example;
  if (known.default !== undefined) return known.default;
  const choice = (known.anyOf || known.oneOf || known.allOf || [])[0];
  if (choice) return example(spec, choice, depth);
  if (known.enum) return known.enum[0];
  const type = Array.isArray(known.type) ? known.type[0] : known.type;
  if (type === "object" && depth < 3) {
    const needed = known.required || Object.keys(known.properties || {}).slice(0, 8);
    return Object.fromEntries(needed.map((key) => [key, example(spec, (known.properties || {})[key] || {}, depth + 1)]));
  }
  return { string: "", integer: 0, number: 0, boolean: false, array: [], object: {} }[type] ?? null;
}

function bodyOf(one) {
  if (!one.body) return null;
  const content = resolved(one.spec, one.body).content || {};
  const type = Object.keys(content)[0];
  if (!type) return null;
  const media = content[type];
  const named = Object.values(media.examples || {})[0];
  const value = media.example !== undefined ? media.example : named ? named.value : example(one.spec, media.schema || {});
  return { types: Object.keys(content), text: typeof value === "string" ? value : JSON.stringify(value, null, 2) };
}

function show(one) {
  if (!one) return;
  if (running) running.abort();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.id === one.id) { link.setAttribute("aria-current", "true"); link.closest("details").open = true; }
    else link.removeAttribute("aria-current");
  }
  const inputs = one.parameters.filter((p) => p.in === "path" || p.in === "query").map((p) => ({ p, input: element("input", {
    "aria-label": p.name, required: p.in === "path" && !one.path.includes(`{${p.name}:`), spellcheck: "false",
    placeholder: (resolved(one.spec, p.schema).type || "").toString() }) }));
  const body = bodyOf(one);
  const type = body && element("select", { "aria-label": "Content type" }, ...body.types.map((name) => element("option", {}, name)));
  const text = body && element("textarea", { "aria-label": "Body", spellcheck: "false" });
  if (text) text.value = body.text;
  const answer = element("div", { id: "answer" });
  const stop = element("button", { type: "button", hidden: true, onclick: () => running && running.abort() }, "Stop");
  const row = ({ p, input }) => element("div", { class: "row" }, element("span", {}, p.name + (input.required ? " *" : "")),
    element("span", {}, input, p.description ? element("div", { class: "about" }, p.description) : ""));
  const send = async (event) => {
    event.preventDefault();
    await ask(one, inputs, type && { type: type.value, text: text.value }, answer, stop);
  };
  const answers = Object.entries(one.responses).map(([status, response]) =>
    element("div", { class: "row" }, element("span", {}, status), element("span", {}, resolved(one.spec, response).description || "")));
  find("shown").replaceChildren(
    element("h2", {}, one.summary || one.id),
    element("div", {}, element("small", { class: "method" }, one.method.toUpperCase()), ` ${one.path}`),
    one.about ? element("p", { class: "about" }, one.about) : "",
    element("form", { onsubmit: send, autocomplete: "off" },
      inputs.length ? element("h3", {}, "Parameters") : "", ...inputs.map(row),
      body ? element("h3", {}, "Body ", type) : "", text || "",
      element("p", {}, element("button", { class: "go" }, "Send"), " ", stop)),
    answer, element("h3", {}, "Answers"), ...answers);
}

function addressOf(one, inputs) {
  let path = one.path;
  const query = new URLSearchParams();
  for (const { p, input } of inputs) {
    if (p.in === "query" && input.value !== "") query.append(p.name, input.value);
    if (p.in === "path") {
      const whole = path.includes(`{${p.name}:path}`);
      const value = whole ? input.value.split("/").map(encodeURIComponent).join("/") : encodeURIComponent(input.value);
      path = path.replace(`{${p.name}:path}`, () => value).replace(`{${p.name}}`, () => value);
    }
  }
  const asked = query.toString();
  return asked ? `${path}?${asked}` : path;
}

async function ask(one, inputs, body, answer, stop) {
  if (running) running.abort();
  const own = running = new AbortController();
  const path = addressOf(one, inputs);
  const line = element("div", { role: "status" }, "…");
  const shown = element("pre");
  answer.replaceChildren(element("h3", {}, "Answer"), element("pre", {}, curl(one, path, body)), line, shown);
  stop.hidden = false;
  const began = performance.now();
  try {
    const response = await call(one.method.toUpperCase(), path, { body: body && body.text, type: body && body.type, signal: own.signal });
    line.textContent = `${response.status} after ${Math.round(performance.now() - began)} ms`;
    line.className = response.ok ? "" : "bad";
    await pour(response, shown);
  } catch (error) {
    line.className = "bad";
    line.textContent = own.signal.aborted ? "stopped" : `no answer: ${error.message}`;
  } finally {
    stop.hidden = true;
    if (running === own) running = null;
  }
}

async function pour(response, shown) {
  const type = response.headers.get("content-type") || "";
  if (!/json|text|yaml/.test(type)) {
    const size = (await response.blob()).size;
    shown.textContent = `${size} bytes of ${type || "an unknown kind"}; download them with the command above`;
    return;
  }
  let text = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done && text.length < MOST_CHARACTERS; part = await reader.read()) {
    text += part.value;
    shown.textContent = text;
  }
  await reader.cancel();
  try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* a stream, or cut off: as it is */ }
  shown.textContent = text.length < MOST_CHARACTERS ? text : `${text.slice(0, MOST_CHARACTERS)}\n… (cut off)`;
}

// The command names the token's variable, never the token.
function curl(one, path, body) {
  const quoted = (value) => `'${value.replaceAll("'", "'\\''")}'`;
  const parts = ["curl", "-X", one.method.toUpperCase(), quoted(location.origin + path), "-H", '"Authorization: Bearer $JITFLOW_TOKEN"'];
  if (body) parts.push("-H", quoted(`Content-Type: ${body.type}`), "--data-binary", quoted(body.text));
  return parts.join(" ");
}
