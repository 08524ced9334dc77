"""Sections of the report: one module each, with a function ``(Context) -> Section | None``.

`table` lists them in order.
"""
