"""Record any program, unchanged, and say what held it back: its phases, its marks, before and after a change.

Here lives ``rtxbench trace``: running the command, what it may say of itself, what its recording and the profile of its
steps show, two recordings side by side.

Not here: the recorder, its files and sensors (`rtxbench.hardware`), what names a bottleneck (`rtxbench.diagnosis`).
"""
