//! Whatever an agent may send.

use std::{sync::Arc, time::Duration};

use calls::{
    Access, AccessKeyId, Basis, Coverage, Covered, End, Entry, Heard, Key, Leased, Loss, Named,
    NamedBy, Names, Needs, Outcome, Plane, Record, Refusals, Sighting, Signer, Trust, Why,
};
use jiff::Timestamp;
use lake::{Frame, Sender, Sent};
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
};

/// Within three days.
fn time() -> impl Strategy<Value = Timestamp> {
    let from = 1_795_500_000_000_i64;
    (from..from + 3 * 24 * 3_600_000).prop_map(|ms| Timestamp::from_millisecond(ms).unwrap())
}

fn workload() -> impl Strategy<Value = workload::Workload> {
    let name = select(vec!["orders", "billing", "A.b_c-9"]);
    (name, select(vec!["prod", "test"]), "[a-z0-9][a-z0-9:@._-]{0,11}").prop_map(
        |(name, environment, instance)| format!("{name}/{environment}/{instance}").parse().unwrap(),
    )
}

fn access_key() -> impl Strategy<Value = AccessKeyId<'static>> {
    "(ASIA|AKIA)[QRSA-F2-7]{16}".prop_map(|key| AccessKeyId::parse(key).unwrap())
}

fn role() -> impl Strategy<Value = cloud::RoleArn> {
    select(vec![
        "arn:aws:iam::222222222222:role/orders",
        "arn:aws:iam::333333333333:role/team/billing",
        "arn:aws-cn:iam::444444444444:role/a+b=c,d.e@f-g_h",
    ])
    .prop_map(|role| role.parse().unwrap())
}

fn signer() -> impl Strategy<Value = Signer> {
    prop_oneof![
        2 => (role(), workload()).prop_map(|(role, to)| Signer::Leased { role, to }),
        1 => Just(Signer::Foreign),
        1 => Just(Signer::Unknown),
    ]
}

/// Any text, of letters that are hard to quote.
fn text(most: usize) -> impl Strategy<Value = String> {
    vec(
        select(vec![
            'a', 'Z', '0', '/', '"', '\'', ',', ';', ' ', '\\', 'é', '🙂', '=', '*', '.', '-', '_',
        ]),
        1..most,
    )
    .prop_map(String::from_iter)
}

fn names() -> impl Strategy<Value = Names> {
    let arn = text(20).prop_map(|name| format!("arn:aws:s3:::{name}"));
    prop_oneof![Just(Names::Unknown), btree_set(arn, 0..4).prop_map(Names::These)]
}

fn named() -> impl Strategy<Value = Named> {
    let needs = prop_oneof![
        1 => Just(Needs::Unknown),
        4 => btree_map("(s3|kms|dynamodb):[A-Z][a-z]{2,8}", names(), 0..4).prop_map(Needs::These),
    ];
    let access = [Access::List, Access::Read, Access::Tagging, Access::Write, Access::Permissions];
    let by = [NamedBy::Arn, NamedBy::Url, NamedBy::Bare, NamedBy::Alias];
    (
        needs,
        option::of(select(vec![Basis::Listed, Basis::Assumed])),
        option::of(select(access.to_vec())),
        option::of(select(vec![Plane::Data, Plane::Management])),
        option::of(select(by.to_vec())),
    )
        .prop_map(|(needs, basis, access, plane, by)| Named {
            needs,
            basis,
            access,
            plane,
            by,
        })
}

fn key() -> impl Strategy<Value = Key> {
    let about = (
        select(vec!["S3", "DynamoDB", "Cognito Identity Provider"]),
        select(vec!["GetObject", "DeleteTable", "CreateTable", "PutItem"]),
        option::of(select(vec!["eu-west-1", "us-east-1"])),
        select(Outcome::ALL.to_vec()),
        btree_map(text(12), vec(text(30), 0..3), 0..3),
    );
    (option::of(workload()), option::of(access_key()), signer(), any::<bool>(), named(), about)
        .prop_map(
            |(
                workload,
                access_key,
                signer,
                shim,
                named,
                (service, operation, region, outcome, unnamed),
            )| Key {
                workload,
                access_key,
                signer,
                trust: if shim { Trust::Shim } else { Trust::Monitoring },
                service: service.into(),
                operation: operation.into(),
                region: region.map(|region| region.parse().unwrap()),
                named,
                unnamed: unnamed
                    .into_iter()
                    .map(|(path, values)| {
                        (path.into(), values.into_iter().map(Into::into).collect())
                    })
                    .collect(),
                outcome,
            },
        )
}

fn sighting() -> impl Strategy<Value = Sighting> {
    let examples =
        (option::of(text(40)), option::of(text(40)), option::of(text(60)), option::of(text(40)));
    let longest = option::of((0..100_000_u64).prop_map(Duration::from_millis));
    (prop_oneof![Just(1_u64), 2..1_000_000_u64], time(), 0..90_000_i64, examples, longest).prop_map(
        |(count, first, lasted, (request_id, exception, user_agent, host), longest)| Sighting {
            count,
            first,
            last: if count == 1 {
                first
            } else {
                first + jiff::SignedDuration::from_millis(lasted)
            },
            request_id,
            exception,
            user_agent,
            host,
            longest,
        },
    )
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    let why = select(vec![Why::First, Why::Repeats, Why::Evicted]);
    (key(), sighting(), why).prop_map(|(key, sighting, why)| Record {
        key: Arc::new(key),
        sighting,
        why,
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let leased = (access_key(), workload(), role(), time()).prop_map(
        |(access_key, workload, role, from)| {
            Entry::Leased(Leased {
                access_key,
                workload,
                role,
                from,
                until: from + jiff::SignedDuration::from_hours(1),
            })
        },
    );
    let heard = (option::of(workload()), time(), text(10)).prop_map(|(workload, at, sdk)| {
        Entry::Heard(Heard {
            workload,
            at,
            language: "python".to_owned(),
            sdk,
            sdk_version: "1".to_owned(),
            shim_version: "0.1.0".to_owned(),
        })
    });
    let covered = (time(), 0..1000_u64, 0..1000_u64, select(Loss::ALL.to_vec()), 0..50_u64)
        .prop_map(|(from, stored, lost, loss, held)| {
            let mut coverage = Coverage::default();
            coverage.sent(stored + lost);
            coverage.ended(End::Stored, stored);
            coverage.ended(End::Lost(loss), lost);
            let to = from + jiff::SignedDuration::from_secs(60);
            Entry::Covered(Covered {
                from,
                to,
                coverage,
                refusals: Refusals::default(),
                held,
                cut_off: 0,
                crashes: 0,
            })
        });
    prop_oneof![6 => record().prop_map(Entry::Calls), 1 => leased, 1 => heard, 1 => covered]
}

/// Frames of up to three senders.
pub(crate) fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let frames = vec(vec(entry(), 0..8), 0..4).prop_map(|frames| {
        let numbered = (5..).zip(frames);
        numbered.map(|(seq, entries)| Frame { seq, entries }).collect::<Vec<_>>()
    });
    vec((select(vec!["host-1", "Host 2/ä", "10.0.0.7"]), frames), 1..4).prop_map(|all| {
        let numbered = (1_u8..).zip(all);
        let sent = |(epoch, (agent, frames)): (u8, (&str, _))| Sent {
            sender: Sender { agent: agent.to_owned(), epoch: [epoch; 16] },
            frames,
        };
        numbered.map(sent).collect()
    })
}
