"""Sections of the view that a reader opens on: the answers, what to do first, your own model.

What an answer rests on is shown in `evidence`.
"""
