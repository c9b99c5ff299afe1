"""A gate's arms: revisions, their dependencies and environments, and nothing left behind."""
