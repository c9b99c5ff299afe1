"""``python -m bench.publish``: what a checkout shows of the committed records, made anew from them.

- ``reports``: the committed reports, and the runs that each is made from
- ``figures``: what stands in the pages, by name; each is a function from the records to Markdown
- ``markers``: where in a page it stands, between two comments
- ``files``: all of it, as the files that are to be written

With ``--check`` nothing is written, and the exit code says whether a file differs. Pictures and HTML are written and
not
checked: another version of a font or of Matplotlib draws other bytes.
"""
