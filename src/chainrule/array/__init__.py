"""Floor 1: array namespaces and their primitives, dtypes, random streams, threads and BLAS, errors."""
