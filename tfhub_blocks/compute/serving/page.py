"""The page to try a model: one file, which sends requests only to its own server."""

import base64
import hashlib

_SCRIPT = """
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
"""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 40rem; padding: 0 1rem;
color: #1c2733; background: #fff; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
#files { display: block; border: 2px dashed #8fa3b5; border-radius: .5rem; padding: 2rem;
text-align: center; cursor: pointer; }
#files.over, #files:focus-within { border-color: #0b5cad; background: #eef3f7; }
[hidden] { display: none !important; }
textarea { width: 100%; box-sizing: border-box; font: inherit; }
button { font: inherit; padding: .3rem 1rem; }
img { max-width: 100%; max-height: 16rem; margin-top: 1rem; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 400; }
meter { width: 12rem; } td:last-child { text-align: right; }
.error { color: #a1260d; }
"""

_BODY = """
<h1 id="name">Model</h1>
<label id="files" hidden>Drop a file here, or choose one<br><input id="file" type="file"></label>
<form id="texts" hidden><label for="text">Text</label>
<textarea id="text" rows="4" required></textarea><button>Label it</button></form>
<img id="picture" alt="The chosen image" hidden><audio id="sound" controls hidden></audio>
<p id="status" role="status">Starting…</p>
<table aria-label="The most probable labels"><tbody id="answer"></tbody></table>
"""


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


# Allows only this script and style, this server, and the chosen file from memory.
POLICY = (
    f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; "
    "connect-src 'self'; img-src blob: data:; media-src blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
PAGE = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width">\n<link rel="icon" href="data:,">\n'
    f"<title>Model</title>\n<style>{_STYLE}</style>\n</head>\n<body>{_BODY}"
    f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
)
