"""Floor 1: primitives and namespaces, dtypes, random streams, threads and BLAS, errors."""
