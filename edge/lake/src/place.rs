use std::{fmt, path::PathBuf, sync::Arc};

use object_store::{
    ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
    local::LocalFileSystem,
    path::Path,
    prefix::PrefixStore,
};

use crate::{
    disk,
    error::LakeError,
    store::{Lake, Store},
};

/// Where a lake is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder of this machine. It is made if it is not there, and only its owner may look into it.
    Folder(PathBuf),
    /// A bucket of S3, or of what speaks as S3 does.
    Bucket(Bucket),
}

/// A bucket, and how to get there.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What all names in it begin with; nothing for all of the bucket.
    pub prefix: String,
    /// Its region.
    pub region: String,
    /// Where it is asked, where that is not AWS: `https://…`, or `http://…` on a machine of one's own.
    pub endpoint: Option<String>,
    /// With whose credentials.
    pub credentials: Credentials,
}

/// With whose credentials a bucket is asked.
#[derive(Clone)]
pub enum Credentials {
    /// Those of the machine: the environment's, else a web identity's, a container's or the instance's.
    Machine,
    /// These.
    Fixed {
        /// The id of the access key.
        access_key: String,
        /// The secret. It is not printed.
        secret_key: String,
        /// The session token, where the key has one. It is not printed.
        session_token: Option<String>,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => f.write_str("Machine"),
            Self::Fixed { access_key, .. } => {
                f.debug_struct("Fixed").field("access_key", access_key).finish_non_exhaustive()
            }
        }
    }
}

/// How often and how long a request to S3 is repeated. Whoever publishes tries again anyway, and whoever asks waits.
const RETRIES: usize = 4;
const RETRY_SECONDS: u64 = 20;

impl Lake {
    /// Opens the lake of a place. A bucket is not asked before something is read or written.
    ///
    /// # Errors
    /// [`LakeError::Settings`] where the place cannot be one, and [`LakeError::Disk`] where the folder cannot be used.
    pub fn open(place: &Place) -> Result<Self, LakeError> {
        match place {
            Place::Folder(folder) => {
                disk::make(folder)?;
                let root = folder.canonicalize().map_err(|source| LakeError::Disk {
                    act: "open",
                    path: folder.clone(),
                    source,
                })?;
                let files = LocalFileSystem::new_with_prefix(&root)
                    .map_err(|error| LakeError::Settings(error.to_string()))?;
                Ok(Self::of(Arc::new(files), Store::Folder(root)))
            }
            Place::Bucket(bucket) => {
                let objects = bucket.connect()?;
                let prefix = Path::parse(bucket.prefix.trim_matches('/'))
                    .map_err(|error| LakeError::Settings(error.to_string()))?;
                let objects: Arc<dyn ObjectStore> = if prefix.as_ref().is_empty() {
                    Arc::new(objects)
                } else {
                    Arc::new(PrefixStore::new(objects, prefix))
                };
                Ok(Self::of(objects, Store::Bucket))
            }
        }
    }
}

impl Bucket {
    fn connect(&self) -> Result<impl ObjectStore + use<>, LakeError> {
        let mut builder = match &self.credentials {
            Credentials::Machine => AmazonS3Builder::from_env(),
            Credentials::Fixed { access_key, secret_key, session_token } => {
                let builder = AmazonS3Builder::new()
                    .with_access_key_id(access_key)
                    .with_secret_access_key(secret_key);
                match session_token {
                    Some(token) => builder.with_token(token),
                    None => builder,
                }
            }
        };
        if let Some(endpoint) = &self.endpoint {
            builder =
                builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let retries = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: std::time::Duration::from_secs(RETRY_SECONDS),
            ..RetryConfig::default()
        };
        builder
            .with_bucket_name(&self.name)
            .with_region(&self.region)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retries)
            .build()
            .map_err(|error| LakeError::Settings(error.to_string()))
    }
}
