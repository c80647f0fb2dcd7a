//! demo, test, bench.
fn main() {}
