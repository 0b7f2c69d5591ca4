"""Which commit this is. ``zipapp/build.py`` writes the real one into the copy it packs; a checkout does not know its own."""

COMMIT = ""
"""40 hex digits, ``-dirty`` behind them when the tree differed from it; empty when not known."""
