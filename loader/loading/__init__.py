"""How a model becomes usable: the stages of a load and what follows them."""
