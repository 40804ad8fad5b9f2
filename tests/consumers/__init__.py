"""The real runtimes read what we export. They come with the extra ``consumers``."""
