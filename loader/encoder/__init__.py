"""A transformer encoder in NumPy: from token numbers to token vectors, readable from top to bottom.

``families`` knows how BERT, RoBERTa, MPNet and DistilBERT name and arrange their weights; ``weights`` collects them
into one common form; ``forward`` computes.
"""
