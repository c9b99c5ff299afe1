"""What the pictures share: texts, looks, groups of cells, scales and frames."""
