"""What is to be measured: configurations, the cells they describe, and the order in which these are taken."""
