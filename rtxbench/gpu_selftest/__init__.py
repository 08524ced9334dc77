"""Try on a real card what the rest of rtxbench assumes of cards, and keep what was seen in one file.

A *bundle* holds the driver's sensors, one recording, and what each engine computed; `checks` says which assumptions
hold in it. Whoever has a card sends one; beside `tests/gpu` it becomes a fixture.
"""
