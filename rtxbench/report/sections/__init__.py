"""What the report says: one module a section, each a function ``(Context) -> Section | None``.

`table` lists them in order.
"""
