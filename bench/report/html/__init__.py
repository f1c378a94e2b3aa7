"""The report as one page, which a browser shows without a server, a network or any other file."""
