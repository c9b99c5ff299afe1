"""Which strategy suits which use, and why."""
