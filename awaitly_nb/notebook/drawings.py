"""What the notebook draws for the rooms below it: loaded when Jupyter first asks one of their objects for its HTML."""

from __future__ import annotations

from awaitly_nb.drawing import register_html, register_panel
from awaitly_nb.notebook.html import cache_html, result_html, run_html, state_html, why_html
from awaitly_nb.notebook.panel import panel

for _name in ("Ok", "Err"):
    register_html(_name, result_html)
for _name in ("MappingCache", "MemoryCache", "StoredCache"):
    register_html(_name, cache_html)
register_html("ResumeState", state_html)
register_html("RunSummary", run_html)
register_html("Why", why_html)
register_panel(panel)
