"""What decides: which stage runs, where, how often, and what is kept. Imports trainables, never the reverse."""

__version__ = "0.1.0"
