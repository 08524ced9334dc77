"use strict";
{
  const { folders, kinds, titles, pages } = JSON.parse(document.getElementById("pages").textContent);
  const field = document.getElementById("wanted"), list = document.getElementById("found"), most = 12;
  const plain = text => text.toLowerCase().replace(/[^\p{L}\p{N}.]+/gu, " ").trim();
  const entries = pages.map(([kind, title, name]) => ({ kind, title: titles[title], name, text: plain(titles[title] + " " + name) }));
  // All words must occur. Machines come last, unless their own name is asked for; whole words come before parts of words.
  const rank = (entry, wanted) => {
    const own = plain(entry.name).includes(wanted), last = entry.kind === folders.length - 1;
    const whole = (" " + entry.text + " ").includes(" " + wanted + " ");
    return (last && !own ? 10 : 0) + (whole ? 0 : 2) + (plain(entry.title).endsWith(wanted) ? 0 : 1) + entry.kind / 10;
  };
  const show = () => {
    const wanted = plain(field.value), words = wanted.split(" ");
    const hits = wanted ? entries.filter(entry => words.every(word => entry.text.includes(word))) : [];
    hits.sort((a, b) => rank(a, wanted) - rank(b, wanted) || a.text.length - b.text.length || (a.text < b.text ? -1 : 1));
    list.replaceChildren(...hits.slice(0, most).map(hit => {
      const item = document.createElement("li"), link = document.createElement("a"), kind = document.createElement("small");
      link.href = folders[hit.kind] + "/" + hit.name + ".html";
      link.textContent = hit.title;
      kind.textContent = kinds[hit.kind] + (folders[hit.kind] === "machines" ? " " + hit.name : "");
      item.append(link, kind);
      return item;
    }));
    if (wanted && (!hits.length || hits.length > most)) {
      const rest = document.createElement("li");
      rest.textContent = hits.length ? `${hits.length - most} more: add a word` : "Nothing is called that here. Try fewer letters.";
      list.append(rest);
    }
  };
  const asked = () => {
    const wanted = new URLSearchParams(location.hash.slice(1)).get("q");
    if (wanted !== null) { field.value = wanted; show(); }
  };
  field.addEventListener("input", () => {
    show();
    history.replaceState(null, "", field.value ? "#q=" + encodeURIComponent(field.value) : "#");
  });
  field.addEventListener("keydown", event => {
    const first = list.querySelector("a");
    if (event.key === "Enter" && first) location.href = first.href;
  });
  addEventListener("hashchange", asked);
  asked();
}
