"""Records and verdicts become HTML, Markdown, CSV and figures.

Nothing is measured or judged here; what may be said is decided in `verdicts`, `diagnosis` and `advice`.
"""
