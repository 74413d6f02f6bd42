// Shows the service's own OpenAPI description; nothing is loaded from elsewhere.

const $ = (id) => document.getElementById(id);

function element(name, text = "", classes = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

function nameOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf || schema.oneOf) return (schema.anyOf ?? schema.oneOf).map(nameOf).join(" or ");
  if (schema.type === "array") return `list of ${nameOf(schema.items)}`;
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  return schema.type ?? "any";
}

function limits(schema) {
  const words = { minimum: "at least", maximum: "at most", exclusiveMinimum: "more than", maxLength: "characters up to", maxItems: "items up to" };
  const branches = [schema, ...(schema.anyOf ?? [])];
  return branches.flatMap((one) => Object.entries(words).filter(([key]) => key in one).map(([key, word]) => `${word} ${one[key]}`));
}

function linked(schema) {
  const cell = element("td"), name = nameOf(schema), target = (name.match(/[A-Z]\w+/) ?? [])[0];
  if (!target) return element("td", name);
  const link = element("a", name);
  link.href = `#${target}`;
  cell.append(link);
  return cell;
}

function table(schema) {
  const made = element("table"), top = element("tr");
  for (const heading of ["field", "type", ""]) top.append(element("th", heading));
  made.append(top);
  const required = schema.required ?? [], fields = Object.entries(schema.properties ?? {});
  for (const [name, field] of fields.sort(([one], [other]) => required.includes(other) - required.includes(one))) {
    const row = element("tr"), cell = element("td");
    cell.append(element("code", name));
    const notes = [required.includes(name) ? "required" : "", (field.description ?? "").replace(/\.$/, ""), ...limits(field)];
    row.append(cell, linked(field), element("td", notes.filter(Boolean).join("; ")));
    made.append(row);
  }
  return made;
}

function folded(id, ...heading) {
  const made = element("details"), summary = element("summary"), inside = element("div", "", "inside");
  made.id = id;
  summary.append(...heading);
  made.append(summary, inside);
  return [made, inside];
}

function example(path, method, schema) {
  const url = decodeURI(new URL(`.${path}`, location.href));
  const body = schema?.example ?? schema?.examples?.[0];
  const data = body ? ` \\\n  -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify(body)}'` : "";
  return element("pre", `curl${method === "get" ? "" : ` -X ${method.toUpperCase()}`} ${url}${data}`);
}

function operation(api, path, method, described) {
  const [made, inside] = folded(described.operationId, element("code", method.toUpperCase(), "method"), element("code", path), element("span", described.summary));
  const media = described.requestBody?.content?.["application/json"]?.schema;
  const schema = media?.$ref ? api.components.schemas[nameOf(media)] : media;
  if (described.description) inside.append(element("p", described.description));
  inside.append(element("h3", "Try it"), example(path, method, schema));
  if (schema) inside.append(element("h3", "Body"), table(schema));
  const replies = element("table");
  for (const [status, reply] of Object.entries(described.responses)) {
    const row = element("tr");
    row.append(element("td", status), linked(reply.content?.["application/json"]?.schema ?? { type: "" }), element("td", reply.description));
    replies.append(row);
  }
  inside.append(element("h3", "Replies"), replies);
  return made;
}

function open() {
  const target = $(location.hash.slice(1));
  if (target?.matches("details")) target.open = true, target.scrollIntoView();
}

const api = await (await fetch("openapi.json")).json();
$("intro").textContent = api.info.description;
for (const [path, methods] of Object.entries(api.paths))
  for (const [method, described] of Object.entries(methods)) $("operations").append(operation(api, path, method, described));
for (const [name, schema] of Object.entries(api.components.schemas)) {
  const [made, inside] = folded(name, element("code", name), element("span", schema.description ?? ""));
  inside.append(table(schema));
  $("schemas").append(made);
}
addEventListener("hashchange", open);
open();
