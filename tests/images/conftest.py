"""Here so that the fakes beside it can be imported by the tests in the folders below, too."""
