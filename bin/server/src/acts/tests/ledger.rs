use std::sync::Arc;

use api::{Kind as Problems, PageAsked, ledger::EntriesAsked};

use super::stage::Stage;
use crate::acts::ledger;

#[tokio::test]
async fn the_ledger_is_read_in_pages_and_holds() {
    let stage = Stage::new().await;
    stage.applications(&["a", "b", "c", "d", "e"]).await;
    let all = stage.entries().await;
    let (mut asked, mut read) = (EntriesAsked::default(), Vec::new());
    asked.limit = Some(api::Limit::literal::<3>());
    loop {
        let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
        let page = ledger::read(server, admin, (), asked.clone(), ()).await.unwrap();
        assert!(page.items.len() <= 3);
        read.extend(page.items);
        asked.after = page.next;
        if asked.after.is_none() {
            break;
        }
    }
    let hashes = all.iter().map(|entry| entry.hash.to_string());
    assert!(hashes.eq(read.iter().map(|entry| entry.hash.clone())));
    let viewer = stage.person("vic", &["viewer"]).await;
    let server = Arc::clone(&stage.server);
    let refused = ledger::read(server, viewer, (), EntriesAsked::default(), ()).await.unwrap_err();
    assert_eq!(refused.kind, Problems::NotAllowed);
}

#[tokio::test]
async fn a_checkpoint_signs_where_the_ledger_stands_and_is_made_once_for_each_stand() {
    let stage = Stage::new().await;
    stage.applications(&["a"]).await;
    let make = async || {
        let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
        ledger::make_checkpoint(server, admin, (), (), ()).await.unwrap()
    };
    let (first, again) = (make().await, make().await);
    assert_eq!(first, again);
    assert!(!ledger::checkpoint_by_itself(&stage.server).await.unwrap());
    let tail = stage.entries().await.last().unwrap().tail();
    assert_eq!((first.seq, first.hash.clone()), (tail.seq, tail.hash.to_string()));
    stage.applications(&["b"]).await;
    assert!(ledger::checkpoint_by_itself(&stage.server).await.unwrap());
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    let page = ledger::checkpoints(server, admin, (), PageAsked::default(), ()).await.unwrap();
    assert_eq!(page.items.len(), 2);
    assert_eq!(page.items[1], first);
    // Whoever kept one finds that it is signed by the key that is told.
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    let keys = ledger::keys(server, admin, (), (), ()).await.unwrap().keys;
    assert_eq!(keys[0]["kid"], first.key);
    let kept = ::ledger::Checkpoint {
        seq: first.seq,
        hash: first.hash.parse().unwrap(),
        time: first.time.parse().unwrap(),
        key: first.key,
        signature: first.signature,
    };
    let point = ["x", "y"].map(|name| {
        let text = keys[0][name].as_str().unwrap();
        base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text).unwrap()
    });
    let point = [&[4], point[0].as_slice(), point[1].as_slice()].concat();
    let key =
        ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point);
    assert!(kept.is_signed(|_, message, signature| key.verify(message, signature).is_ok()));
}
