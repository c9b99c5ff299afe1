"""The service's side: one process, one or more models, each with a socket of its own. Free to import what it needs."""
