//! Shims in unchanged programs: each keeps the laws that its own tests hold, and what it says is read by our decoder.

#[cfg(test)]
mod heard;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod programs;
