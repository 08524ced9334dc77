"""Cards and published measurements, with their sources."""
