//! AWS through its official SDK: STS, KMS, IAM, who signed a request, and the host's own metadata service.
//!
//! This crate exists because of its dependency weight. It signs, sends and translates; it holds no
//! policy and no cache, and repeats nothing but signatures: whoever asked decides what a failure means.

mod credentials;
mod host;
mod https;
mod iam;
mod identity;
mod kms;
mod plain;
mod signed;
mod sts;
mod trouble;
mod xml;

pub use credentials::HostCredentials;
pub use host::{HostAnswer, HostError, HostMetadata};
pub use iam::{Iam, IamSettings, OidcProvider, RoleTrust};
pub use identity::{CallerIdentity, ForwardError, Forwarder, Identity};
pub use kms::{Kms, KmsAlgorithm, KmsError, KmsKey, KmsSettings};
pub use signed::{IllegalRequest, SignedRequest};
pub use sts::{AssumeRole, AssumeRoleWithWebIdentity, Issued, Sts, StsError, StsSettings};
pub use trouble::AskError;
