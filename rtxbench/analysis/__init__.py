"""Records become verdicts, gate outcomes, bottlenecks, predictions and purchase advice."""
