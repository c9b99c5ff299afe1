"""Measurements of this project and of the harness itself, a program each."""
