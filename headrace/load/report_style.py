"""The style of reports: light and dark, paper, phones. One string, so that a report is one file."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #1c2126; --dim: #5d6873; --line: #d9dde1; --card: #ffffff;
  --good: #1a7f37; --bad: #c0222b; --c0: #1f6fb5; --c1: #c4541a; --c2: #2b8a5b; --c3: #8250c4; --c4: #b0791b;
  --c5: #c2457e; --c6: #3d8f9c; --c7: #6b7680; --c8: #7a8f1e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e6e9ec; --dim: #9aa6b2; --line: #333b43;
  --card: #1b2126; --good: #4cc26a; --bad: #ff7b72; --c0: #6cb2f0; --c1: #f0935c; --c2: #62c794; --c3: #bd9bf2;
  --c4: #dfb455; --c5: #f08db8; --c6: #74c7d4; --c7: #a9b4be; --c8: #bccf5d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; }
p { margin: .4rem 0; max-width: 48rem; }
.dim, figcaption { color: var(--dim); }
.verdict { display: inline-block; margin: .75rem 0; padding: .3rem .9rem; border-radius: .4rem; font-weight: 600;
  border: 2px solid currentColor; }
.good { color: var(--good); } .bad { color: var(--bad); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .75rem; }
.facts b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.facts span { color: var(--dim); font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .28rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--dim); font-weight: 600; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th.words, td.words { text-align: left; white-space: normal; min-width: 12rem; overflow-wrap: anywhere; }
figure { margin: .75rem 0 1.25rem; }
figcaption { font-size: .9rem; margin-bottom: .25rem; }
svg { display: block; width: 100%; height: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .4rem; }
svg text { fill: var(--dim); font: 11px system-ui, sans-serif; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .mark { stroke: var(--bad); stroke-width: 1; stroke-dasharray: 4 3; }
svg .early { fill: var(--line); opacity: .35; }
svg path { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .85rem; margin: .35rem 0 0; padding: 0;
  list-style: none; }
.legend i { display: inline-block; width: 1rem; height: .2rem; margin-right: .35rem; vertical-align: middle; }
details { margin: .4rem 0; } summary { cursor: pointer; color: var(--dim); font-size: .9rem; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .75rem; overflow-x: auto;
  font-size: .8rem; line-height: 1.4; }
@media (max-width: 40rem) { main { padding: 1rem .75rem 3rem; } h1 { font-size: 1.35rem; }
  th, td { padding: .25rem .35rem; font-size: .82rem; } svg text { font-size: 17px; } svg { min-width: 32rem; } }
@media print { :root { color-scheme: light; --paper: #fff; --card: #fff; --ink: #000; --dim: #444; --line: #bbb;
  --good: #116329; --bad: #a0111f; --c0: #1f6fb5; --c1: #c4541a; --c2: #2b8a5b; --c3: #8250c4; --c4: #b0791b;
  --c5: #c2457e; --c6: #3d8f9c; --c7: #6b7680; --c8: #7a8f1e; }
  main { max-width: none; padding: 0; } figure, table, .facts { break-inside: avoid; } h2 { break-after: avoid; }
  .wide { overflow: visible; } th, td { padding: .15rem .3rem; font-size: 8.5pt; } svg { min-width: 0; }
  details > :not(summary) { display: none; } body { font-size: 11pt; } }
"""
COLOURS = 9
