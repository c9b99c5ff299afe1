"""From texts to token numbers."""
