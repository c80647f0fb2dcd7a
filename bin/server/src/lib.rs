//! rolecall-server: the control plane, so that a host holds no power.

pub mod cursor;
pub mod knowledge;
pub mod orders;
pub mod rows;
