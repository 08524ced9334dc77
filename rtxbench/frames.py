"""Records become pandas frames, by one table of columns."""
