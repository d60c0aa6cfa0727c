"""The style sheet of the page: two sets of colors, chosen by the reader's system, and a layout from 320 pixels on.

Texts keep a contrast of 4.5 to 1 or more in both sets, on shaded cells too (WCAG 2.2, 1.4.3).
"""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --panel: #f6f8fa; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de;
  --grid: #e3e8ed; --blue: #0a5cba; --orange: #c2410c; --gray: #8a949e; }
@media (prefers-color-scheme: dark) { :root { --paper: #0f1419; --panel: #171d24; --ink: #e6edf3; --soft: #a3adb8;
  --line: #343c46; --grid: #262d36; --blue: #6cb6ff; --orange: #fb923c; --gray: #6b7681; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 24px 16px 64px; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 12px; }
h2 { font-size: 1.25rem; margin: 44px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 20px 0 4px; }
p, ul { margin: 8px 0; }
p { max-width: 75ch; }
.note { color: var(--soft); font-size: .9rem; }
a { color: var(--blue); }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 20px 0 0; padding: 0; list-style: none; }
nav a { display: inline-block; padding: 4px 0; }
:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; }
dl.given { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 16px; margin: 0;
  font-size: .9rem; }
dl.given dt { color: var(--soft); }
dl.given dd { margin: 0; }
dl.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 20px 0 0; }
dl.tiles div { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
dl.tiles dt { color: var(--soft); font-size: .9rem; }
dl.tiles dd { margin: 0; }
dl.tiles dd.large { font-size: 1.7rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.scroll { overflow: auto; max-height: 32rem; margin: 12px 0; border: 1px solid var(--line); border-radius: 8px;
  width: fit-content; max-width: 100%; overflow-wrap: normal; }
.scroll:has(.matrix) { max-height: none; }
table { border-collapse: separate; border-spacing: 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 8px 12px; color: var(--soft); }
th, td { padding: 6px 12px; border-top: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { position: sticky; top: 0; background: var(--panel); z-index: 1; }
th:first-child { text-align: left; }
tbody th { font-weight: 500; background: var(--paper); position: sticky; left: 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 8px 32px; }
figure { margin: 12px 0; min-width: 0; }
figcaption { font-size: .9rem; color: var(--soft); max-width: 75ch; }
svg { fill: var(--ink); font: 11px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
svg.plot { display: block; width: 100%; max-width: 460px; height: auto; }
svg.matrix { display: block; margin: 8px; font-size: 12px; }
svg.agent { display: block; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; } svg .small { font-size: 9.5px; }
svg .grid { fill: none; stroke: var(--grid); }
svg .ideal { fill: none; stroke: var(--soft); stroke-dasharray: 5 4; }
svg .gap { fill: none; stroke: var(--orange); stroke-width: 2; stroke-dasharray: 2 2; }
svg .curve { fill: none; stroke: var(--blue); stroke-width: 2.5; stroke-linejoin: round; }
svg .point { fill: var(--blue); stroke: var(--paper); stroke-width: 1.5; }
svg .mark { fill: var(--orange); stroke: var(--paper); stroke-width: 1.5; }
svg .count { fill: var(--gray); }
svg .wrong { fill: var(--orange); }
svg .right { fill: none; stroke: var(--blue); stroke-width: 1.5; }
svg .track { fill: var(--grid); } svg .bar { fill: var(--blue); }
details { border-top: 1px solid var(--line); }
details > summary { cursor: pointer; padding: 8px 0; }
.meta { display: block; color: var(--soft); font-size: .9rem; }
summary .meta { padding-left: 1.1em; }
details ul { padding-left: 1.1em; }
details > div { padding: 0 0 12px 1.1em; }
.list { border-bottom: 1px solid var(--line); }
.move { max-width: none; margin: 0; padding: 8px 0; border-top: 1px solid var(--line); }
summary b, .meta b { font-weight: 600; color: var(--ink); }
pre { margin: 4px 0 8px; padding: 8px 12px; background: var(--panel); border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; font: .82rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (max-width: 480px) { body { font-size: 15px; } th, td { padding: 6px 8px; }
  tbody th { white-space: normal; overflow-wrap: break-word; min-width: 7rem; max-width: 10rem; } }
"""
