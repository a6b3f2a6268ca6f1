"""Finding documents: from a tree of nodes to SQL, iterators, scores and order."""
