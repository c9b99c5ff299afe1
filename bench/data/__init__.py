"""Runs that were measured: records, manifests and the figures in them. Nothing here measures or reports."""
