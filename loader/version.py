"""The version of the library, apart from the package because modules of the package need it."""

__version__ = "0.1.0"
