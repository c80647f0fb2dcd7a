use aws_config::{
    default_provider::credentials::DefaultCredentialsChain, imds, provider_config::ProviderConfig,
};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use cloud::Region;
use secret::SecretText;

use crate::{https::https, plain::Plain};

/// Where the credentials come from that a program on this host has for itself.
#[derive(Clone, Debug)]
pub enum HostCredentials {
    /// The SDK's default chain: environment, shared files, the host's metadata service.
    DefaultChain {
        /// The host's metadata service, if not at AWS's address.
        metadata_endpoint: Option<String>,
    },
    /// A fixed key, for practice clouds.
    Fixed {
        /// The access key's id.
        access_key_id: String,
        /// Its secret.
        secret_access_key: SecretText,
    },
    /// None: only what needs no credentials can be asked.
    None,
}

impl HostCredentials {
    /// What finds them when they are needed. `mark` is that of sockets to the host's own metadata service,
    /// where a redirect is installed.
    pub(crate) async fn provider(
        &self,
        region: &Region,
        mark: Option<u32>,
    ) -> Option<SharedCredentialsProvider> {
        match self {
            Self::None => None,
            Self::Fixed { access_key_id, secret_access_key } => {
                let secret = secret_access_key.expose().as_str();
                let key = Credentials::new(access_key_id, secret, None, None, "configured");
                Some(SharedCredentialsProvider::new(key))
            }
            Self::DefaultChain { metadata_endpoint } => {
                // The host's metadata service is asked from marked sockets, past our own redirect.
                let plain = ProviderConfig::without_region().with_http_client(Plain { mark });
                let mut metadata = imds::Client::builder().configure(&plain);
                if let Some(endpoint) = metadata_endpoint {
                    metadata = metadata.endpoint(endpoint).ok()?;
                }
                let chain = DefaultCredentialsChain::builder()
                    .configure(ProviderConfig::without_region().with_http_client(https()))
                    .imds_client(metadata.build())
                    .region(aws_config::Region::new(region.as_str().to_owned()))
                    .build()
                    .await;
                Some(SharedCredentialsProvider::new(chain))
            }
        }
    }
}
