"""What records say: medians, intervals, shifts. Pure functions."""
