"use strict";
// Without this script the page shows all; with it, what the search leaves.
const search = document.getElementById("search");
const entries = [...document.querySelectorAll(".finding, .row")];
const texts = new Map(entries.map((entry) => [entry, entry.textContent.toLowerCase()]));
const topics = [...document.querySelectorAll(".topic")];
const before = new Map(topics.map((topic) => [topic, topic.open]));

search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const entry of entries) entry.hidden = !words.every((word) => texts.get(entry).includes(word));
  for (const topic of topics) {
    const left = topic.querySelectorAll(":scope > :not(summary):not([hidden])").length;
    topic.hidden = !left;
    topic.open = words.length ? left > 0 : before.get(topic);
  }
});

// A requirement that is pointed to may lie in a topic that is folded.
function reveal() {
  const entry = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const topic = entry?.closest(".topic");
  if (topic) topic.open = true;
  entry?.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
