"""The commands of ``python -m loader``, one module each."""
