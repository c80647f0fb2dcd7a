//! Signing in.

/// Where a sign-in provider sends browsers back to.
pub const CALLBACK: &str = "/v1/login/callback";
