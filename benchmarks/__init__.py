"""Black-box measurements over any Docker socket. Nothing of trioker is imported: what is measured is what a client sees."""
