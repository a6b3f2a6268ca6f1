"""What a search command says: from arguments and query text to a request and a tree of nodes."""
