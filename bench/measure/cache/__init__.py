"""What is in memory and on the disk when a sample begins."""
