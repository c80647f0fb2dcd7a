//! AWS through its official SDK: STS, and the host's own metadata service.
