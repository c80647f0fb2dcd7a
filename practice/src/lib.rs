//! The practice cloud and the practice host that the demo, the tests and the benchmarks run in.
