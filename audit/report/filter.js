"use strict";
// Filters tables. A row is shown where its text has all words and each chosen column has the chosen value.
for (const form of document.querySelectorAll("form.filter")) {
  const rows = Array.from(document.getElementById(form.dataset.table).tBodies[0].rows, row => ({
    row,
    text: Array.from(row.cells, cell => cell.textContent + " " + cell.title).join(" ").toLowerCase(),
    cells: Array.from(row.cells, cell => (cell.querySelector("span > bdi") || cell).textContent),
  }));
  const find = form.querySelector("input");
  const choices = Array.from(form.querySelectorAll("select"));
  const said = form.querySelector("output");
  const apply = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const r of rows) {
      const fits = words.every(w => r.text.includes(w)) &&
        choices.every(c => c.value === "" || r.cells[Number(c.dataset.column)] === c.value);
      r.row.hidden = !fits;
      if (fits) count++;
    }
    said.value = count === rows.length ? count + " rows" : count + " of " + rows.length + " rows";
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", event => event.preventDefault());
  form.hidden = false;
  apply();
}
