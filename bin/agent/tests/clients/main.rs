//! Unchanged programs with the real AWS SDKs, each of which finds the credentials of its own account
//! by the SDK's default chain and knows nothing of Rolecall.

#[cfg(test)]
mod cast;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod environment;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod sources;
