"""Measuring: from a plan to records. The core imports no load test, gate or report."""
