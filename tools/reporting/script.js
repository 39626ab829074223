
"use strict";

// Tables: a heading sorts by its column, falling first where there are numbers.
function value(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.sort === undefined) return cell.textContent.trim().toLowerCase();
  return cell.dataset.sort === "" ? null : Number(cell.dataset.sort);
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null); // what is not defined, last
  if (typeof a === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortBy(table, column) {
  const headings = table.tHead.rows[0].cells;
  const rows = Array.from(table.tBodies[0].rows);
  const numbers = rows.some((row) => typeof value(row, column) === "number");
  const before = headings[column].getAttribute("aria-sort");
  const first = numbers ? "descending" : "ascending";
  const other = numbers ? "ascending" : "descending";
  const now = before === first ? other : first;
  for (const heading of headings) heading.removeAttribute("aria-sort");
  headings[column].setAttribute("aria-sort", now);
  const sign = now === "ascending" ? 1 : -1;
  rows.sort((a, b) => compare(value(a, column), value(b, column), sign));
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sortBy(table, column));
  });
}

// Several nets: pictures that the page has already are copied to their places.
for (const place of document.querySelectorAll("[data-copy]")) {
  const figure = document.getElementById("image-" + place.dataset.place);
  const image = figure.querySelector(`img[data-view="${place.dataset.copy}"]`);
  place.firstElementChild.replaceChildren(image.cloneNode());
}

// The confusion matrix: a cell opens the images behind it.
function pixels(image, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, width, height);
  return { canvas, context, data: context.getImageData(0, 0, width, height) };
}

function is(data, at, colour) {
  return data[at] === colour[0] && data[at + 1] === colour[1] && data[at + 2] === colour[2];
}

// The photograph in grey, the pixels of the pair in the colour that was predicted.
async function where(figure, colours) {
  const images = {};
  for (const image of figure.querySelectorAll("img")) {
    image.loading = "eager";
    await image.decode();
    images[image.dataset.view] = image;
  }
  const width = images.truth.naturalWidth;
  const height = images.truth.naturalHeight;
  const shown = pixels(images.photograph, width, height);
  const truth = pixels(images.truth, width, height).data.data;
  const guess = pixels(images.prediction, width, height).data.data;
  const out = shown.data.data;
  for (let at = 0; at < out.length; at += 4) {
    if (is(truth, at, colours[0]) && is(guess, at, colours[1])) {
      out[at] = 255; out[at + 1] = 0; out[at + 2] = 160;
    } else {
      const grey = 0.45 * (0.3 * out[at] + 0.59 * out[at + 1] + 0.11 * out[at + 2]) + 70;
      out[at] = out[at + 1] = out[at + 2] = grey;
    }
  }
  shown.context.putImageData(shown.data, 0, 0);
  shown.canvas.setAttribute("role", "img");
  shown.canvas.setAttribute("aria-label", "where the pixels of this cell are");
  return shown.canvas;
}

function note(words) {
  const line = document.createElement("p");
  line.className = "note";
  line.textContent = words;
  return line;
}

const dialog = document.getElementById("dialog");

async function open(button) {
  const behind = document.getElementById("behind");
  document.getElementById("opened").textContent = button.getAttribute("aria-label");
  behind.replaceChildren();
  const added = [];
  for (const one of button.dataset.pictures.split(" ").filter(Boolean)) {
    const [place, count] = one.split(":");
    const figure = document.getElementById("image-" + place).cloneNode(true);
    figure.removeAttribute("id");
    const caption = figure.querySelector("figcaption");
    caption.append(`; ${count} pixels of this cell, here in pink`);
    behind.append(figure);
    added.push(figure);
  }
  const others = JSON.parse(button.dataset.others || "[]");
  if (others.length) {
    const told = others.map(([name, count]) => `${name} (${count} pixels)`).join(", ");
    behind.append(note(`Most of its pixels are also in images that have no picture here: ${told}.`));
  }
  if (!behind.children.length) behind.append(note("No image of this page has any of its pixels."));
  dialog.showModal();
  const all = JSON.parse(dialog.dataset.colours);
  const colours = button.dataset.pair.split(" ").map((place) => all[place]);
  for (const figure of added) {
    const canvas = await where(figure, colours);
    const view = document.createElement("div");
    view.className = "view";
    const words = document.createElement("span");
    words.textContent = "where";
    view.append(canvas, words);
    figure.querySelector(".views").append(view);
  }
}

for (const button of document.querySelectorAll("button.opener")) {
  button.title = button.getAttribute("aria-label");
  button.addEventListener("click", () => open(button));
}
document.getElementById("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

// Light or dark: as the system says, until the button is pressed.
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
