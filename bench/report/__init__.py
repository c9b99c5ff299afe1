"""From records to a report. Reads records and manifest, measures nothing; the same records give the same bytes.

- ``making``: the whole of it; ``gather``: which runs are reported, as one ``Context``
- ``sections``: what is said, one module each, as parts of ``document``; ``tables``: the figures in it
- ``plots``: the pictures, one module each
- ``recommend``, ``sensitivity``: what the records decide, and how sure that is
- ``markdown``, ``html``, ``terminal``: the formats; ``writing``: into files

Adding a section means adding a module to ``sections`` and a line to its tuple; the same for plots.
"""
