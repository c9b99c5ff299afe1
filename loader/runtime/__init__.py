"""What the library must mind in somebody else's process: the collector, logs and files."""
