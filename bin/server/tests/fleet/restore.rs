//! A deployment that is put back to what it was when it was copied.

use std::{fs, path::Path};

use api::{
    agents::Asked,
    ledger::{Checkpoint, MakeCheckpoint},
    switch::Scope,
};
use practice::server::Plan;

use crate::{host::Host, operator::Operator, replicas::entries};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// What is in a folder is replaced by what was copied.
fn put_back(copied: &Path, folder: &Path) {
    for file in fs::read_dir(folder).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    copy(copied, folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_agents_obey_again_and_a_kept_checkpoint_tells_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let binary = practice::agent::built("rolecall-server").unwrap();
    let plan = Plan::new(binary, folder.path().join("server")).unwrap();
    plan.write("http://issuer.rolecall.example", "").unwrap();
    let mut server = plan.start().unwrap();
    let (data, copied) = (server.plan().data(), folder.path().join("copied"));

    let admin = Operator::first(&server).await;
    let reviewer = Operator::another(&server, "reviewer").await;
    admin.let_all_run().await;
    admin.bind(&reviewer, "orders", crate::deployment::ROLE).await;
    let token = admin.join_token(1).await;
    let host = Host::join(&[&server], &token).await;
    server.stop().unwrap();
    copy(&data, &copied);
    server.resume().unwrap();

    // What happens now is in no copy.
    admin.flip(Scope::default(), Asked::On).await;
    let kept: Checkpoint = admin.say::<MakeCheckpoint>(()).await.unwrap();
    let held = host.orders(None).await.unwrap().unwrap();
    assert_eq!(held.positions.len(), 1);
    server.stop().unwrap();
    put_back(&copied, &data);
    server.resume().unwrap();

    // The host is still one of ours, and is told what is so now: orders that are newer than those it holds.
    let told = host.orders(Some(held.revision)).await.unwrap().expect("orders come by themselves");
    assert!(told.revision > held.revision);
    assert_eq!(told.positions, Vec::new());

    // The chain holds by itself. Only what was kept elsewhere shows that there was more.
    let line = serde_json::to_vec(&kept).unwrap();
    let kept: ledger::Checkpoint = serde_json::from_slice(&line).unwrap();
    let mut verifier = ledger::Verifier::new(vec![kept]);
    let all = entries(&admin).await;
    let broken = all
        .iter()
        .try_for_each(|entry| verifier.take(entry))
        .and_then(|()| verifier.finish().map(drop));
    assert!(
        matches!(broken, Err(ledger::Broken::CutOff { .. } | ledger::Broken::Rewritten { .. })),
        "{broken:?}"
    );
}
