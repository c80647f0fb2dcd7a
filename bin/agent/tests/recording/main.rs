//! What the agent makes of calls on a real kernel: unchanged programs with their shims in namespaces, monitoring, and an agent
//! that is killed, flooded, or has no room.

#[cfg(test)]
mod alone;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod stage;
