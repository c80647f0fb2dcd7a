use std::sync::Arc;

use api::{
    Kind as Problems, Problem,
    applications::{Account, AccountPath},
};
use serde_json::json;

use super::stage::Stage;
use crate::{acts::applications, caller::Person};

async fn put(stage: &Stage, who: Person, application: Option<&str>) -> Result<Account, Problem> {
    let path = AccountPath { account: "222222222222".parse().unwrap() };
    let facts = json!({ "name": "the account", "application": application });
    let facts = serde_json::from_value(facts).unwrap();
    applications::put_account(Arc::clone(&stage.server), who, path, (), facts).await
}

#[tokio::test]
async fn nobody_takes_an_account_away_from_an_application_that_is_not_theirs() {
    let stage = Stage::new().await;
    stage.applications(&["orders", "elsewhere"]).await;
    let theirs = stage.person("theirs", &["owner", "others"]).await;
    let ours = stage.person("ours", &["owner", "team"]).await;
    put(&stage, ours.clone(), Some("orders")).await.unwrap();
    for taken in [None, Some("elsewhere")] {
        let refused = put(&stage, theirs.clone(), taken).await.unwrap_err();
        assert_eq!(refused.kind, Problems::NotAllowed);
    }
    assert_eq!(stage.count("account.put").await, 1);
    put(&stage, ours, Some("orders")).await.unwrap();
    put(&stage, stage.admin().await, None).await.unwrap();
}
