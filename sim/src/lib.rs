//! The whole agent in one thread from one seed, with faults.
