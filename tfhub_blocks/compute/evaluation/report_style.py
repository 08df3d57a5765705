"""The frame and the style sheet of a report's page, which `evaluation_report` fills in."""

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<header>
<h1>$title</h1>
<p class="summary">$summary</p>
</header>
$verdict
$sections
</main>
</body>
</html>
"""

STYLE = """
:root {
  --ground: #f5f6f8; --card: #ffffff; --ink: #1f2933; --faint: #55606e; --line: #dde1e7;
  --good: #00664b; --good-ground: #e3f4ee; --bad: #9f3a00; --bad-ground: #fdece1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14181d; --card: #1d232a; --ink: #e6e9ed; --faint: #a3adb9; --line: #353d47;
    --good: #5fd0ac; --good-ground: #15302a; --bad: #ffa46b; --bad-ground: #3a2317;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 .75rem; }
p { margin: 0 0 1rem; max-width: 46rem; }
.summary { color: var(--faint); font-size: 1.05rem; overflow-wrap: anywhere; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.25rem 1.4rem; margin-top: 1.25rem;
}
.verdict { border-left-width: 6px; }
.verdict h2 { font-size: 1.5rem; margin-bottom: .2rem; }
.passed { border-color: var(--good); background: var(--good-ground); }
.failed { border-color: var(--bad); background: var(--bad-ground); }
.passed h2, .met { color: var(--good); }
.failed h2, .missed { color: var(--bad); }
.met, .missed { font-weight: 600; white-space: nowrap; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .75rem; text-align: left; vertical-align: top; }
th:first-child, td:first-child { padding-left: 0; }
thead th { color: var(--faint); font-size: .85rem; font-weight: 600; vertical-align: bottom; }
tbody tr { border-top: 1px solid var(--line); }
tbody th { font-weight: 500; overflow-wrap: anywhere; min-width: 7rem; }
.number { text-align: right; }
td.number { white-space: nowrap; }
.strong { font-weight: 650; }
.meaning, small { color: var(--faint); }
small { font-size: .82rem; }
.meaning { display: block; font-size: .88rem; font-weight: 400; }
.pair b, small { white-space: nowrap; }
code { font: .86em/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
td code, .id code { overflow-wrap: anywhere; }
.figures {
  display: grid; gap: 1.25rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
}
figure { margin: 0; min-width: 0; }
figure:first-child { grid-column: 1 / -1; }
figure img {
  display: block; width: 100%; height: auto; max-height: 44rem; object-fit: contain;
  background: #fff; padding: .9rem;
  border: 1px solid var(--line); border-radius: 8px;
}
figcaption { color: var(--faint); font-size: .9rem; margin-top: .5rem; }
.cards {
  display: grid; gap: 1rem; list-style: none; margin: 0; padding: 0;
  grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr));
}
.card { border: 1px solid var(--line); border-radius: 8px; overflow: hidden; min-width: 0; }
.card img {
  display: block; width: 100%; height: 10rem; object-fit: contain; background: #8882;
}
blockquote {
  margin: 0; padding: .8rem; height: 10rem; overflow: auto; background: #8882;
  font-size: .9rem; overflow-wrap: anywhere; white-space: pre-wrap;
}
dl { margin: 0; padding: .65rem .8rem .8rem; font-size: .9rem; }
dl div { display: flex; gap: .6rem; }
dt { color: var(--faint); flex: 0 0 4.6rem; }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.id dd { color: var(--faint); }
.notes { margin: 0; padding-left: 1.2rem; }
@media (max-width: 40rem) {
  main { padding: 1.25rem .75rem 3rem; }
  section { padding: 1rem; }
  h1 { font-size: 1.5rem; }
  th, td { padding: .4rem .5rem; }
  td.pair { white-space: normal; }
  .cards { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
}
@media print {
  :root {
    --ground: #fff; --card: #fff; --ink: #000; --faint: #444; --line: #bbb;
    --good: #00664b; --good-ground: #fff; --bad: #9f3a00; --bad-ground: #fff;
  }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  section { border: 0; border-radius: 0; padding: .5rem 0; }
  .verdict { border-left: 4px solid; padding-left: .8rem; }
  .table { overflow: visible; }
  figure, .card, tr, .verdict { break-inside: avoid; }
  h2 { break-after: avoid; }
  thead { display: table-header-group; }
}
"""
