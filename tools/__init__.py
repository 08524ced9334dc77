"""Generators of documentation pages and of package data: run by hand from a checkout, never shipped."""
