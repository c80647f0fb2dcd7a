//! Opening: whose database it is, and who may be first.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use practice::postgres::Postgres;
use practice::tools::Tools;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use secret::SecretText;
use state::{Database, Settings, State, StateError};

use crate::world::{Kind, Place, World, at, on_both, recorded, runtime, verified};

/// Opens one database from many servers at once, before there are any tables.
fn check_first_start(kind: Kind) {
    let (_place, settings) = Place::new(kind);
    runtime().block_on(async {
        let opens: Vec<_> = (0..6)
            .map(|_| {
                let settings = settings.clone();
                tokio::spawn(async move { State::open(&settings).await })
            })
            .collect();
        let mut states = Vec::new();
        for open in opens {
            states.push(open.await.unwrap().unwrap());
        }
        for state in &states {
            recorded(state, at(1)).await;
        }
        assert_eq!(verified(&states[0]).await.entries, 6);
    });
}

#[test]
fn many_first_starts_at_once_make_one_sqlite() {
    check_first_start(Kind::Sqlite);
}

#[test]
fn many_first_starts_at_once_make_one_postgres() {
    check_first_start(Kind::Postgres);
}

/// Runs SQL as a person would by hand.
async fn by_hand(world: &World, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql);
    match &world.settings.database {
        Database::Sqlite(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
            sqlx::query(sql).execute(&pool).await.unwrap();
            pool.close().await;
        }
        Database::Postgres(url) => {
            let pool = sqlx::PgPool::connect(url.expose()).await.unwrap();
            sqlx::query(sql).execute(&pool).await.unwrap();
            pool.close().await;
        }
    }
}

async fn refused(world: &World) -> StateError {
    State::open(&world.settings).await.unwrap_err()
}

on_both! {
    async fn opening_again_is_harmless(world) {
        let entry = recorded(&world.state, at(1)).await;
        world.state.close().await;
        for _ in 0..2 {
            let state = world.another().await;
            assert_eq!(state.read().await.unwrap().tail(), entry.tail());
            state.close().await;
        }
    }

    async fn a_ledger_whose_end_is_missing_is_not_opened(world) {
        recorded(&world.state, at(1)).await;
        recorded(&world.state, at(2)).await;
        by_hand(&world, "DELETE FROM ledger WHERE seq = 2").await;
        let error = refused(&world).await;
        assert!(matches!(error, StateError::Damaged { table: "ledger", .. }), "{error}");
    }

    async fn a_row_that_no_release_wrote_is_damage(world) {
        by_hand(&world, "INSERT INTO bindings VALUES ('a', 'p', 1, 'approved', '{}')").await;
        let read = world.state.read().await.unwrap().binding("a", "p", 1).await;
        assert!(matches!(read, Err(StateError::Damaged { table: "bindings", .. })), "{read:?}");
    }

    async fn a_database_of_a_newer_release_is_not_opened(world) {
        by_hand(&world, "UPDATE rolecall_migrations SET version = 99").await;
        let error = refused(&world).await;
        assert!(matches!(error, StateError::Settings { .. }), "{error}");
        assert!(error.to_string().contains("newer release"), "{error}");
    }

    async fn a_database_of_another_program_is_not_opened(world) {
        by_hand(&world, "ALTER TABLE rolecall_migrations RENAME TO others").await;
        let error = refused(&world).await;
        assert!(error.to_string().contains("another program"), "{error}");
    }

    async fn a_database_without_its_one_row_is_damaged(world) {
        by_hand(&world, "DELETE FROM standing").await;
        let error = world.state.read().await.err().unwrap();
        assert!(matches!(error, StateError::Damaged { table: "standing", .. }), "{error}");
    }

    async fn one_connection_is_too_few(world) {
        let settings = Settings { connections_max: 1, ..world.settings.clone() };
        let error = State::open(&settings).await.unwrap_err();
        assert!(matches!(error, StateError::Settings { .. }), "{error}");
    }

    async fn what_was_closed_is_unavailable(world) {
        let (settings, wait) = (world.settings.clone(), Duration::from_millis(200));
        let state = State::open(&Settings { wait, ..settings }).await.unwrap();
        state.close().await;
        let error = state.read().await.err().unwrap();
        assert!(error.is_retryable(), "{error}");
    }

    async fn whoever_waits_too_long_for_an_act_is_told(world) {
        let (settings, wait) = (world.settings.clone(), Duration::from_millis(300));
        let impatient = State::open(&Settings { wait, ..settings }).await.unwrap();
        let act = world.state.act().await.unwrap();
        let error = impatient.act().await.err().unwrap();
        assert!(error.is_retryable(), "{error}");
        drop(act);
        recorded(&world.state, at(1)).await;
        recorded(&impatient, at(2)).await;
        impatient.close().await;
    }
}

fn sqlite(path: PathBuf) -> Settings {
    let wait = Duration::from_secs(5);
    Settings { database: Database::Sqlite(path), connections_max: 2, wait }
}

#[test]
fn the_files_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rolecall.db");
    runtime().block_on(async {
        let state = State::open(&sqlite(path.clone())).await.unwrap();
        recorded(&state, at(1)).await;
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap());
        let modes: Vec<_> =
            files.map(|file| file.metadata().unwrap().permissions().mode() & 0o777).collect();
        assert_eq!(modes, [0o600, 0o600, 0o600]);
        state.close().await;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = State::open(&sqlite(path)).await.unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    });
}

#[test]
fn a_file_that_cannot_be_a_database_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let error = State::open(&sqlite(folder.path().join("no/rolecall.db"))).await.unwrap_err();
        assert!(matches!(error, StateError::Settings { .. }), "{error}");
        let path = folder.path().join("text");
        std::fs::write(&path, "no database, and longer than the header of one would be".repeat(9))
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let error = State::open(&sqlite(path)).await.unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
    });
}

/// Opening at `url` is refused for good, without a word of the password.
#[track_caller]
fn check_url(url: &str, words: &str) {
    let database = Database::Postgres(SecretText::new(url.to_owned()));
    let settings = Settings { database, connections_max: 2, wait: Duration::from_secs(30) };
    let error = runtime().block_on(State::open(&settings)).unwrap_err();
    assert!(matches!(error, StateError::Settings { .. }), "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(!format!("{error:?} {settings:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn a_url_that_cannot_be_right_is_told_at_once() {
    let server = Postgres::shared(&Tools::find()).unwrap();
    check_url("rolecall:hunter2", "postgres://USER");
    check_url("postgres://u:hunter2@192.0.2.1/x", "sslmode=verify-full");
    check_url("postgres://u:hunter2@db.example/x?sslmode=prefer", "sslmode=verify-full");
    let port = server.port();
    let here = |who: &str| format!("postgres://{who}@127.0.0.1:{port}/x?sslmode=disable");
    check_url(&here("rolecall:hunter2"), "authentication failed");
    check_url(&server.url("missing"), "does not exist");
}

#[test]
fn a_database_that_loses_what_it_acknowledged_is_not_opened() {
    let server = Postgres::shared(&Tools::find()).unwrap();
    let url = server.database().unwrap();
    check_url(&format!("{url}&options=-c%20synchronous_commit%3Doff"), "synchronous_commit");
}

/// An authority and the certificate that it gave to a server at `localhost`.
struct Signed {
    authority: String,
    certificate: String,
    key: String,
}

impl Signed {
    fn new() -> Self {
        let mut own = CertificateParams::default();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own_key = KeyPair::generate().unwrap();
        let authority = own.self_signed(&own_key).unwrap().pem();
        let issuer = Issuer::new(own, own_key);
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = server.signed_by(&key, &issuer).unwrap().pem();
        Self { authority, certificate, key: key.serialize_pem() }
    }
}

#[test]
fn over_tls_no_server_is_believed_but_the_one_that_the_url_names() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Postgres::start(&Tools::find()).unwrap());
    let (ours, others) = (Signed::new(), Signed::new());
    server.show(&ours.certificate, &ours.key).unwrap();
    let url = server.database().unwrap();
    let open = |host: &str, authority: &Signed| {
        let file = folder.path().join("authority.pem");
        std::fs::write(&file, &authority.authority).unwrap();
        let tls = format!("sslmode=verify-full&sslrootcert={}", file.display());
        let url = url.replace("127.0.0.1", host).replace("sslmode=disable", &tls);
        let database = Database::Postgres(SecretText::new(url));
        let settings = Settings { database, connections_max: 2, wait: Duration::from_secs(1) };
        runtime().block_on(async {
            let state = State::open(&settings).await?;
            recorded(&state, at(1)).await;
            state.close().await;
            Ok::<_, StateError>(())
        })
    };
    open("localhost", &ours).unwrap();
    // A name that the certificate does not have, and an authority that did not sign it.
    for refused in [open("127.0.0.1", &ours), open("localhost", &others)] {
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}
