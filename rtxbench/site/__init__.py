"""Static pages about thousands of machines: by card, workload, machine and engine version, with search and history.

Here live the aggregates that DuckDB takes from the tables, one module a kind of page that turns them into the report's
own blocks, the search index, and the build that rewrites only what changed.

No HTML is written and no figure drawn here: `rtxbench.report` does both. Nothing is judged: verdicts are a report's.
"""
