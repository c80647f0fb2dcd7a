//! Language-neutral cases of the metadata protocols, and the judge of an answer.
