"""Sections of the report: one module each, with a function ``(Context) -> Section | None``, in the room of its view.

`table` lists them in order; how a block becomes HTML or Markdown is the business of `rtxbench.report.render`.
"""
