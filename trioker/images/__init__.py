"""Images: the store of records and names, imports. Pull, push and build join here later."""
