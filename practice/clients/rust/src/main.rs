//! Asks who it is, with the SDK's own default credential chain.
//!
//! It prints one JSON line. Nothing here says where the credentials are. This
//! client writes no object: the S3 crate would cost every build of the house a minute, and S3 sees
//! no other credentials than STS does.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sts::config::ProvideCredentials;
use aws_sdk_sts::error::DisplayErrorContext;
use aws_smithy_http_client::tls;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", DisplayErrorContext(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = aws_smithy_http_client::Builder::new().tls_provider(ring).build_https();
        let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        let config = loader.load().await;
        let sts = aws_sdk_sts::Client::new(&config);
        for left in (0..options.repeat).rev() {
            ask(&config, &sts).await?;
            if left > 0 {
                tokio::time::sleep(options.every).await;
            }
        }
        Ok(())
    })
}

async fn ask(config: &SdkConfig, sts: &aws_sdk_sts::Client) -> Result<(), Box<dyn Error>> {
    let caller = sts.get_caller_identity().send().await?;
    let provider = config.credentials_provider().ok_or("the SDK made no credentials provider")?;
    let credentials = provider.provide_credentials().await?;
    let line = serde_json::json!({
        "client": "rust",
        "account": caller.account(),
        "arn": caller.arn(),
        "access_key_id": credentials.access_key_id(),
        "bucket": null,
        "object": null,
    });
    println!("{line}");
    Ok(())
}

struct Options {
    repeat: u32,
    every: Duration,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self { repeat: 1, every: Duration::ZERO };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("`{name}` needs a number"))?;
            match name.as_str() {
                "--repeat" => options.repeat = value.parse()?,
                "--every" => options.every = Duration::from_millis(value.parse()?),
                _ => return Err(format!("unknown option `{name}`").into()),
            }
        }
        Ok(options)
    }
}
