"""A model of the user's own: what is asked of it beyond the suite's pairs.

Here lives what only such a model is asked: its plan, its first steps, its largest batch, and the search for its fastest
setting, with what ``rtxbench run --model`` stores of them.

Not here: making a model of a file (`rtxbench.workloads.own`) and its step (`rtxbench.engines`), what is said
of the records (`rtxbench.report.sections.answers.your_model`).
"""
