"""A model's files: finding them, fetching them, and reading what they say."""
