"""``python -m bench.publish``: everything in a checkout that shows the committed records, written from them.

- ``reports``: what is committed: runs, and the reports that are made from them
- ``packing``: records are committed compressed
- ``figures``: the generated parts of pages, by name; each is a function from the records to Markdown
- ``markers``: where they go in a page, between two comments
- ``files``: the generated files that are checked, and which pictures are committed
- ``drawing``: pages and pictures of the reports

Committed are compressed records, manifests, Markdown, and the pictures that a page shows. HTML and all other pictures
are built with ``--uncommitted`` (``make reports``), which changes no committed file.

With ``--check`` nothing is written, and the exit code says whether a file differs. Matplotlib's pictures are written
but not checked: another version of it, or of a font, draws other bytes.
"""
