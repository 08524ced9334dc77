"""Records and verdicts become HTML, Markdown, CSV and figures."""
