"""What the library must mind in somebody else's process: exit, fork, the collector, logs and files."""
