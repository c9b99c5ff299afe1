"""A command line tool that answers a search. --help loads nothing, and the model loads while the data is opened.

python search_cli.py "database connection"
"""

import argparse

from loader import LoaderError, preload_embeddings

DOCUMENTS = [
    "Connections are opened by a pool and returned to it after each request.",
    "The logo is blue on a white background.",
    "A query that takes longer than the time-out is cancelled by the server.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description="Search the documents.")
    parser.add_argument("query")
    arguments = parser.parse_args()  # --help and wrong usage end here, before anything is loaded

    model = preload_embeddings("all-MiniLM-L6-v2")  # returns in milliseconds, loads in a thread
    documents = [text.strip() for text in DOCUMENTS]  # meanwhile: open the database, read the configuration, ...

    try:
        provider = model.load(timeout=60)
    except LoaderError as error:
        raise SystemExit(f"search: {error}") from error
    scores = provider.embed_batch(documents) @ provider.embed_query(arguments.query)
    for score, text in sorted(zip(scores, documents, strict=True), reverse=True):
        print(f"{score:.3f}  {text}")


if __name__ == "__main__":
    main()
