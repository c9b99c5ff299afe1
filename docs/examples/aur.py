"""Search text files by meaning, in a tool that answers at once.

python aur.py index docs README.md
python aur.py search "database connection"

The model begins to load as soon as the arguments are known; everything else is imported and done meanwhile.
"""

import argparse
import functools
import gc
import os
import re
import sys
from contextlib import closing, contextmanager

from loader import LoaderError, preload_embeddings, top_k  # imports neither NumPy nor PyTorch

ENGINES = ("auto", "native", "numpy", "onnx", "sentence_transformers")
STRATEGIES = ("lazy", "background", "progressive", "quantized", "cached", "service", "plain")
SUFFIXES = (".txt", ".md", ".rst", ".py")
BATCH = 512  # passages between two progress messages
ROWS = 256  # vectors read at once
# A passage ends at a blank line, or between words after 800 characters: models ignore the rest of a long text.
PASSAGE = re.compile(r"\S(?:(?:.|\n(?=.*\S)){0,799}(?!\S)|\S{0,799})")


def search(arguments):
    """Print the passages nearest to the query, best first."""
    embed_query = begin_to_load(arguments)
    if not os.path.isfile(arguments.database):  # noqa: PTH113 - importing pathlib costs milliseconds
        sys.exit(f"aur: there is no {arguments.database}; make it with: python aur.py index FOLDER")
    with opened(arguments.database) as connection:  # the model loads meanwhile
        connection.execute(f"PRAGMA mmap_size = {2**30}")  # read in place; the file is only ever replaced as a whole
        model, dimension = connection.execute("SELECT model, dimension FROM embeddings").fetchone()
        if model != arguments.model:  # vectors of different models cannot be compared
            sys.exit(f"aur: {arguments.database} was made with --model {model}, not {arguments.model}")
        query = embed_query(arguments.query)
        if len(query) != 4 * dimension:
            sys.exit(f"aur: {arguments.model} has changed since {arguments.database} was made; index again")
        hits = [(number, cosine) for number, cosine in nearest(query, connection, arguments.top) if cosine > 0]
        for number, cosine in hits:
            _, path, line, text = connection.execute("SELECT * FROM passages WHERE id = ?", (number,)).fetchone()
            print(f"{cosine:.3f}  {path}:{line}  {' '.join(text.split())[:80]}", flush=True)
    if not hits:
        sys.exit(f"aur: nothing in {arguments.database} is near {arguments.query!r}")


def nearest(query, connection, count):
    """Return the numbers and cosines of the nearest passages. Piece by piece, it takes less memory, so less time."""
    hits, first = [], 0
    with connection.blobopen("embeddings", "vectors", 1, readonly=True) as vectors:
        while piece := vectors.read(ROWS * len(query)):
            # Products are cosines, because vectors have length 1.
            hits += [(first + number, cosine) for number, cosine in top_k(query, piece, count)]
            first += ROWS
    return sorted(hits, key=lambda hit: -hit[1])[:count]  # of equal ones the first


def begin_to_load(arguments):
    """Start loading the model by the chosen strategy, and return the function that embeds the query, as bytes."""
    if arguments.strategy == "plain":  # for comparison: what most programs do
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(arguments.model)
        return lambda query: model.encode(query).tobytes()
    model = preload_embeddings(arguments.model, arguments.strategy, engine=arguments.engine)  # returns at once
    return lambda query: model.load(timeout=None).embed_query_bytes(query)  # waits for what is left of the load


@contextmanager
def opened(database):
    """Open a database. If that or its use fails, the program ends with a message."""
    import sqlite3  # not before the model has begun to load

    try:
        with closing(sqlite3.connect(database)) as connection:
            yield connection
    except sqlite3.Error as error:
        sys.exit(f"aur: {database} cannot be used: {error}; name another --database, or remove it and index again")


def index(arguments):
    """Read files, embed their passages, and replace the index with a new one."""
    model = preload_embeddings(arguments.model, engine=arguments.engine)  # loads while the files are read
    from pathlib import Path

    if Path(arguments.database).exists():
        with opened(arguments.database) as connection:  # never replace a file that is something else
            connection.execute("SELECT model, dimension, vectors FROM embeddings")
    elif not Path(arguments.database).parent.is_dir():
        sys.exit(f"aur: there is no folder {Path(arguments.database).parent}")
    paths = dict.fromkeys(path for name in arguments.files for path in find_files(Path(name)))  # each once
    passages = [passage for path in paths for passage in passages_of(path)]
    if not passages:
        sys.exit(f"aur: no text found; name files, or folders with files named *{' *'.join(SUFFIXES)}")
    provider = model.load(timeout=None)
    vectors = []
    for start in range(0, len(passages), BATCH):
        vectors.append(provider.embed_batch_bytes(text for _, _, text in passages[start : start + BATCH]))
        print(f"aur: {min(start + BATCH, len(passages))} of {len(passages)} passages", file=sys.stderr)
    # All vectors in one value, on large pages: reading thousands of rows would take longer than computing the scores.
    embeddings = (arguments.model, provider.dimension, b"".join(vectors))
    temporary = Path(f"{arguments.database}.{os.getpid()}.tmp")
    try:
        with opened(temporary) as connection, connection:
            connection.execute("PRAGMA page_size = 65536")
            connection.execute("CREATE TABLE embeddings (model TEXT, dimension INTEGER, vectors BLOB)")
            connection.execute("CREATE TABLE passages (id INTEGER PRIMARY KEY, path TEXT, line INTEGER, text TEXT)")
            connection.execute("INSERT INTO embeddings VALUES (?, ?, ?)", embeddings)
            rows = ((number, *passage) for number, passage in enumerate(passages))
            connection.executemany("INSERT INTO passages VALUES (?, ?, ?, ?)", rows)
        temporary.replace(arguments.database)  # there is a complete index at every moment: the old one or the new one
    finally:
        temporary.unlink(missing_ok=True)


def find_files(path):
    """Return the file itself, or the text files in a folder and its subfolders, without hidden ones."""
    if not path.exists():
        sys.exit(f"aur: there is no file or folder {path}")
    found = (file.relative_to(path) for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    visible = sorted(file for file in found if not any(part.startswith(".") for part in file.parts))
    return [path / file for file in visible] if path.is_dir() else [path]


def passages_of(path):
    """Return the path, line number and text of each passage of a file; report a file without text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        str(path).encode()  # SQLite stores text, and a file name need not be valid text
    except (OSError, ValueError) as error:
        text = ""
        print(f"aur: skipped {path}: {error}", file=sys.stderr)
    if "\0" in text:
        text = ""
        print(f"aur: skipped {path}: it is binary", file=sys.stderr)
    passages, line, counted = [], 1, 0
    for match in PASSAGE.finditer(text):
        line, counted = line + text.count("\n", counted, match.start()), match.start()
        passages.append((str(path), line, match[0]))
    return passages


def main():
    """Parse the arguments, then run the command. --help and wrong usage end here, before anything is loaded."""
    # With a width of its own, argparse does not import shutil, with bz2 and lzma, to ask for the terminal's.
    formatter = functools.partial(argparse.HelpFormatter, width=100)
    parser = argparse.ArgumentParser(prog="aur", description="Search text files by meaning.", formatter_class=formatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("index", "read files and make an index"), ("search", "print the passages nearest to a query")):
        command = commands.add_parser(name, help=text, formatter_class=formatter)
        command.add_argument("--database", default="aur.sqlite", help="default: %(default)s")
        command.add_argument("--model", default="all-MiniLM-L6-v2", help="default: %(default)s")
        command.add_argument("--engine", default="auto", choices=ENGINES)
    commands.choices["index"].add_argument("files", nargs="+", metavar="FOLDER|FILE")
    command.add_argument("query")
    command.add_argument("--top", type=int, default=5, help="how many passages, default: %(default)s")
    command.add_argument("--strategy", default="progressive", choices=STRATEGIES)
    arguments = parser.parse_args()
    if arguments.command == "search" and arguments.top < 1:
        parser.error(f"--top must be at least 1, not {arguments.top}")
    sys.stdout.reconfigure(errors="replace")  # do not fail on a character that the terminal cannot show
    try:
        {"index": index, "search": search}[arguments.command](arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (LoaderError, ImportError, OSError) as error:
        sys.exit(f"aur: {error}")


if __name__ == "__main__":
    main()
    gc.freeze()  # nothing needs to be collected any more, and Python ends sooner
