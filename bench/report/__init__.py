"""From records to a report. Reads records and manifest, measures nothing; the same records give the same bytes.

- ``making``: the whole of it; ``gather``: which runs are reported, as one ``Context``
- ``sections``: what is said, one module each, as parts of ``document``; ``tables``: the figures in it
- ``first_screen``: the answers that come first; ``plots``: the pictures, one module each
- ``choice``, ``sensitivity``: what the records decide, and how sure that is
- ``quality``: the report of a run of ``suite=quality``
- ``markdown``, ``html``, ``terminal``: the formats; ``writing``: into files

Adding a section means adding a module to ``sections`` and a line to its tuple; the same for plots.
"""
