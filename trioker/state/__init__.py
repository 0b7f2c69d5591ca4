"""The store: what trioker remembers, in one SQLite file. Nobody else speaks SQL."""
