"""Cards and published measurements, with their sources.

Literal data and its readers: nothing here is measured, predicted or judged.
"""
