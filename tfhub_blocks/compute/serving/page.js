const byId = (id) => document.getElementById(id);
const shown = 5;
let model;

function say(text, isError) {
  byId("status").textContent = text;
  byId("status").className = isError ? "error" : "";
}

async function answered(response) {
  const given = await response.json();
  if (!response.ok) throw new Error(given.error);
  return given;
}

async function score(body, type) {
  say("Asking the model…");
  byId("answer").replaceChildren();
  const begun = performance.now();
  try {
    const headers = {"content-type": type};
    const request = fetch("score", {method: "POST", headers, body});
    const [row] = (await answered(await request)).predictions;
    const ms = Math.round(performance.now() - begun);
    const order = row.probabilities.map((p, index) => [p, model.labels[index]]);
    order.sort((a, b) => b[0] - a[0]);
    for (const [p, label] of order.slice(0, shown)) {
      const [line, name, bar, value] = ["tr", "th", "meter", "td"].map((tag) =>
        document.createElement(tag));
      name.textContent = label;
      name.scope = "row";
      bar.value = p;
      value.textContent = `${(100 * p).toFixed(1)} %`;
      const cell = document.createElement("td");
      cell.append(bar);
      line.append(name, cell, value);
      byId("answer").append(line);
    }
    say(`${row.label}, in ${ms} ms`);
  } catch (error) {
    say(error.message, true);
  }
}

function take(file) {
  if (!file) return;
  const url = URL.createObjectURL(file);
  const isSound = model.modality === "audio";
  byId("sound").hidden = !isSound;
  byId("picture").hidden = model.modality !== "image";
  (isSound ? byId("sound") : byId("picture")).src = url;
  const isKnown = model.content_types.includes(file.type);
  score(file, isKnown ? file.type : "application/octet-stream");
}

async function begin() {
  try {
    model = await answered(await fetch("model"));
  } catch (error) {
    say(error.message, true);
    setTimeout(begin, 1000);
    return;
  }
  byId("name").textContent = model.name;
  document.title = model.name;
  const isText = model.content_types.includes("text/plain");
  byId("files").hidden = isText;
  byId("texts").hidden = !isText;
  say("Ready");
}

byId("file").addEventListener("change", (event) => take(event.target.files[0]));
byId("texts").addEventListener("submit", (event) => {
  event.preventDefault();
  score(byId("text").value, "text/plain");
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    byId("files").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && model && !byId("files").hidden) take(event.dataTransfer.files[0]);
  });
}
begin();
