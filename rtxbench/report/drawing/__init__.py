"""Pictures: every figure of the report is drawn here, on panels of a sheet, in one style.

A drawing gets plain data and knows neither records' files nor HTML; what is drawn, and the words under it, are the
section's. The page's rows of ratios are no figures: they follow the window's width (`rtxbench.report.render.axis`).
"""
