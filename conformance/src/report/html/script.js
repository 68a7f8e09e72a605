"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const trouble = new Set(["fail", "crash", "timeout", "broken"]);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function options(select, values) {
  for (const value of new Set(values)) select.append(make("option", { value }, value));
}

function showTargets() {
  byId("about").textContent =
    `Version ${data.suite}, run of ${data.started.replace("T", " ").replace("Z", " UTC")}. Each cell opens its evidence.`;
  for (const target of data.targets) {
    const total = target.counts.reduce((sum, [, count]) => sum + count, 0);
    const bar = make("div", { class: "bar" });
    for (const [word, count] of target.counts)
      bar.append(make("i", { class: word, style: `width:${(100 * count) / total}%` }));
    const box = make("div", { class: "target" },
      make("b", {}, target.name),
      make("span", { class: "on" }, `${target.platform}, expected: ${target.profile}`),
      bar,
      target.counts.map(([word, count]) => `${count} ${word}`).join(", "));
    for (const error of target.errors) box.append(make("div", { class: "error" }, error));
    byId("targets").append(box);
  }
}

// Everything that the search looks through, once for each requirement.
for (const requirement of data.requirements) {
  const cases = requirement.cells.flatMap((cell) => cell.cases.map((one) => `${one.name} ${one.text}`));
  requirement.text = [requirement.id, requirement.statement, ...requirement.sources, ...cases].join(" ").toLowerCase();
}

function wanted(requirement) {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const area = byId("area").value, level = byId("level").value, standing = byId("standing").value;
  const standings = requirement.cells.map((cell) => cell.standing);
  if (area && requirement.area !== area) return false;
  if (level && requirement.level !== level) return false;
  if (standing === "trouble" && !standings.some((word) => trouble.has(word))) return false;
  if (standing === "differs" && new Set(standings).size < 2) return false;
  if (standing === "unintended" && !requirement.unintended) return false;
  if (standing && !["trouble", "differs", "unintended"].includes(standing) && !standings.includes(standing)) return false;
  return words.every((word) => requirement.text.includes(word));
}

function showMatrix() {
  const body = byId("matrix").tBodies[0];
  body.replaceChildren();
  let area = "", shown = 0;
  for (const requirement of data.requirements) {
    if (!wanted(requirement)) continue;
    shown += 1;
    if (requirement.area !== area) {
      area = requirement.area;
      body.append(make("tr", { class: "area" }, make("th", { colspan: 3 + data.targets.length }, area)));
    }
    // With the values put in, where they are the same for all targets.
    const statements = new Set(requirement.cells.map((cell) => cell.statement));
    const text = statements.size === 1 ? [...statements][0] : requirement.statement;
    const statement = make("td", { class: "statement" }, text);
    if (requirement.unintended) statement.append(make("span", { class: "note" }, `Looks unintended: ${requirement.unintended}`));
    if (requirement.unchecked) statement.append(make("span", { class: "note" }, `Not checked: ${requirement.unchecked}`));
    const row = make("tr", { id: requirement.id },
      make("td", { class: "id" }, make("a", { href: `#${requirement.id}` }, requirement.id)),
      statement,
      make("td", { class: "level" }, requirement.level));
    requirement.cells.forEach((cell, number) => {
      const label = `${requirement.id} on ${data.targets[number].name}: ${cell.standing}`;
      const button = make("button", { class: cell.standing, "aria-label": label, type: "button" }, cell.standing);
      button.addEventListener("click", () => showEvidence(requirement, number));
      row.append(make("td", { class: "cell" }, button));
    });
    body.append(row);
  }
  byId("shown").textContent = `${shown} of ${data.requirements.length} requirements`;
}

function showEvidence(requirement, number) {
  const cell = requirement.cells[number], target = data.targets[number];
  const link = make("a", { href: `#${requirement.id}` }, requirement.id);
  link.addEventListener("click", () => byId("evidence").close());
  const content = [
    make("h2", {}, link, `, ${requirement.level}: ${cell.standing} on ${target.name}`),
    make("p", {}, cell.statement),
    make("ul", {}, ...requirement.sources.map((source) => make("li", {}, source))),
  ];
  for (const note of [requirement.unintended, requirement.unchecked]) if (note) content.push(make("p", { class: "note" }, note));
  for (const one of cell.cases) {
    content.push(make("h3", {}, make("code", {}, one.name), `: ${one.verdict}, ${(one.micros / 1000).toFixed(1)} ms`));
    if (one.text) content.push(make("pre", {}, one.text));
  }
  if (!cell.cases.length && !requirement.unchecked) content.push(make("p", {}, "No case of this requirement was run to a verdict."));
  byId("content").replaceChildren(...content);
  byId("evidence").showModal();
}

function showTotals() {
  for (const [title, key] of [["By area", "area"], ["By level", "level"]]) {
    const head = make("tr", {}, make("th", {}, ""), ...data.targets.map((target) => make("th", {}, target.name)));
    const table = make("table", {}, make("thead", {}, head));
    for (const value of new Set(data.requirements.map((requirement) => requirement[key]))) {
      const row = make("tr", {}, make("td", {}, value));
      data.targets.forEach((_, number) => {
        const cells = data.requirements.filter((one) => one[key] === value).map((one) => one.cells[number].standing);
        const held = cells.filter((word) => word === "pass").length;
        const missed = cells.filter((word) => trouble.has(word)).length;
        row.append(make("td", {}, `${held} of ${held + missed} hold, ${cells.length - held - missed} not settled`));
      });
      table.append(row);
    }
    byId("totals").append(make("h2", {}, title), table);
  }
}

options(byId("area"), data.requirements.map((requirement) => requirement.area));
options(byId("level"), data.requirements.map((requirement) => requirement.level));
options(byId("standing"), data.requirements.flatMap((requirement) => requirement.cells.map((cell) => cell.standing)).sort());
byId("matrix").tHead.append(make("tr", {},
  make("th", {}, "requirement"), make("th", { class: "statement" }, "statement"), make("th", { class: "level" }, "level"),
  ...data.targets.map((target) => make("th", {}, target.name))));
for (const event of ["input", "change"]) byId("filters").addEventListener(event, showMatrix);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("close").addEventListener("click", () => byId("evidence").close());
showTargets();
showMatrix();
showTotals();
if (location.hash) byId(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
