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
