// Draws /openapi.json, and sends requests from the page with the token typed above.
const el = (name, attributes = {}, ...children) => {
  const node = Object.assign(document.createElement(name), attributes);
  node.append(...children);
  return node;
};
let schemas = {};
const resolve = (schema) => (schema?.$ref ? schemas[schema.$ref.split("/").pop()] : schema) ?? {};
const nameOf = (schema) => {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(nameOf).join(" | ");
  if (schema.type === "array") return `${nameOf(schema.items)}[]`;
  return schema.enum ? schema.enum.map((value) => JSON.stringify(value)).join(" | ") : schema.type ?? "any";
};
const example = (schema, depth = 0) => {
  const known = resolve(schema);
  if (known.default !== undefined) return known.default;
  if (known.anyOf) return known.anyOf.some((part) => part.type === "null") ? null : example(known.anyOf[0], depth + 1);
  if (known.enum) return known.enum[0];
  if (known.type === "object" || known.properties) {
    const required = new Set(known.required ?? []);
    const entries = Object.entries(known.properties ?? {}).filter(([key]) => depth > 2 ? false : required.has(key));
    return Object.fromEntries(entries.map(([key, value]) => [key, example(value, depth + 1)]));
  }
  return { array: [], integer: known.minimum ?? 0, number: 0, boolean: false, string: "" }[known.type] ?? null;
};
const fieldTable = (schema) => {
  const known = resolve(schema);
  const required = new Set(known.required ?? []);
  return el("table", {}, ...Object.entries(known.properties ?? {}).map(([key, value]) =>
    el("tr", {}, el("td", {}, el("code", { textContent: key + (required.has(key) ? " *" : "") })),
      el("td", { textContent: nameOf(value) }), el("td", { textContent: value.description ?? "" }))));
};
const tryForm = (path, method, operation) => {
  const inputs = (operation.parameters ?? []).map((parameter) => [parameter, el("input", { placeholder: nameOf(parameter.schema) })]);
  const schema = operation.requestBody?.content["application/json"].schema;
  const body = schema && el("textarea", { value: JSON.stringify(example(schema), null, 2) });
  const output = el("pre", { hidden: true });
  const button = el("button", { textContent: "Send" });
  let reader;
  button.onclick = async () => {
    await reader?.cancel().catch(() => {});
    const headers = {}, query = new URLSearchParams();
    let target = path;
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
      else if (input.value) headers[parameter.name] = input.value;
    }
    const token = document.querySelector("#token").value.trim();
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body) headers["Content-Type"] = "application/json";
    output.hidden = false;
    try {
      const answer = await fetch(target + (query.size ? `?${query}` : ""), { method: method.toUpperCase(), headers, body: body?.value });
      output.textContent = `${answer.status} ${answer.statusText}\n\n`;
      reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part; !(part = await reader.read()).done;) output.append(part.value);
    } catch (error) {
      output.textContent = String(error);
    }
  };
  return el("div", {}, el("h3", { textContent: "Try it" }),
    el("table", {}, ...inputs.map(([parameter, input]) => el("tr", {}, el("td", { textContent: `${parameter.name} (${parameter.in})` }), el("td", {}, input)))),
    ...(body ? [body] : []), button, output);
};
const operationBox = (path, method, operation) => {
  const box = el("details", {}, el("summary", {}, el("b", { textContent: method }), el("code", { textContent: path }),
    ` ${operation.summary} `, el("span", { className: "lock", textContent: operation.security ? "needs a token" : "" })));
  box.addEventListener("toggle", () => {
    if (box.childElementCount > 1) return;
    const schema = operation.requestBody?.content["application/json"].schema;
    const section = el("section", {}, el("p", { textContent: operation.description ?? "" }));
    if (schema) section.append(el("h3", { textContent: `Body: ${nameOf(schema)}` }), fieldTable(schema));
    for (const [status, answer] of Object.entries(operation.responses)) {
      const shape = answer.content?.["application/json"]?.schema;
      section.append(el("h3", { textContent: `${status}: ${shape ? nameOf(shape) : answer.description}` }));
      if (shape && status < "300") section.append(fieldTable(shape.items ?? shape));
    }
    section.append(tryForm(path, method, operation));
    box.append(section);
  });
  return box;
};
const draw = (api) => {
  schemas = api.components.schemas;
  const tags = {};
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(methods)) (tags[operation.tags[0]] ??= []).push([path, method, operation]);
  document.querySelector("nav").replaceChildren(...Object.keys(tags).map((tag) => el("a", { href: `#${tag}`, textContent: tag })));
  document.querySelector("main").replaceChildren(...Object.entries(tags).flatMap(([tag, operations]) =>
    [el("h2", { id: tag, textContent: tag }), ...operations.map((parts) => operationBox(...parts))]));
};
fetch("/openapi.json").then((answer) => answer.json()).then(draw)
  .catch((error) => { document.querySelector("main").textContent = `Could not read /openapi.json: ${error}`; });
