//! The agent on a real kernel: real namespaces, cgroups and redirects, a real STS behind the gate,
//! and requests from where workloads stand. Each test has a private host of its own.

#[cfg(test)]
mod attached;
#[cfg(test)]
mod caller;
#[cfg(test)]
mod crowds;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod file;
#[cfg(test)]
mod host_answers;
#[cfg(test)]
mod host_network;
#[cfg(test)]
mod http;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod labels;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod stage;
