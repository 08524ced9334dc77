"""rtxbench: is what is said about training on NVIDIA RTX cards true on this machine, and which card to buy.

The package root imports nothing: ``rtxbench --help``, the recorder process and the report must start
without an engine. Import the room you need (``rtxbench.results.store``, ``rtxbench.verdicts`` …).
"""

__version__ = "0.1.0"
