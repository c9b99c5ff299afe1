"use strict";

// A click on a heading sorts its table: ascending, descending, and as it was. Each cell holds its rank in its column; a
// cell without one is a missing value, and stays last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];

  const sort = (heading) => {
    const before = heading.getAttribute("aria-sort");
    const after = { ascending: "descending", descending: null }[before];
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    if (after === null) {
      body.append(...original);
      return;
    }
    heading.setAttribute("aria-sort", after ?? "ascending");
    const sign = after ? -1 : 1;
    const rank = (row) => row.cells[heading.cellIndex].dataset.rank;
    const present = original.filter((row) => rank(row) !== undefined);
    const missing = original.filter((row) => rank(row) === undefined);
    body.append(...present.sort((a, b) => sign * (rank(a) - rank(b))), ...missing);
  };

  for (const heading of headings.filter((cell) => "sortable" in cell.dataset)) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(heading));
    heading.append(button);
  }
}

// Sections are open as written, so that a page without script hides nothing. With it, one opens when its heading is
// clicked, when its anchor is the target, and for print.
const sections = [...document.querySelectorAll("details")];

const reveal = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const section = target?.closest("details");
  if (section) {
    section.open = true;
    target.scrollIntoView();
  }
};

const open = (all) => sections.forEach((section) => (section.open = all));

if (sections.length) {
  open(false);
  reveal();
  addEventListener("hashchange", reveal);
  // A click on a link to the anchor that is the target already changes nothing in the address.
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener("click", () => link.hash === location.hash && setTimeout(reveal));
  }
  let before = [];
  addEventListener("beforeprint", () => {
    before = sections.filter((section) => section.open);
    open(true);
  });
  addEventListener("afterprint", () => {
    open(false);
    before.forEach((section) => (section.open = true));
  });
  const all = document.createElement("button");
  all.type = "button";
  all.className = "all";
  all.textContent = "Open all sections";
  all.addEventListener("click", () => {
    open(sections.some((section) => !section.open));
    all.textContent = sections.every((section) => section.open) ? "Close all sections" : "Open all sections";
  });
  document.querySelector("main > header").append(all);
}
