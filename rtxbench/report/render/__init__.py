"""Sections of plain data become HTML, Markdown, CSV and image files.

Nothing here decides what is said.
"""
