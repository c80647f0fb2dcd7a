//! Instance and container metadata protocols: a request in, an answer out.
