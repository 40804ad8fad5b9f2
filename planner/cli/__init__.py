"""The ``plan`` command: one module per command, each imported only when it runs."""
