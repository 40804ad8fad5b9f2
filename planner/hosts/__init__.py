"""Which host holds which ranks of a configuration, where the links between hosts differ."""
