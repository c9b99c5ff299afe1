"""Measures what loading strategies cost. Empty on purpose: the process being timed imports it."""
