"""The frozen values every room speaks: containers, images, errors, ids. No I/O, no dialect."""
