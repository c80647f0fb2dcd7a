//! The practice PostgreSQL keeps what it acknowledged, is told apart from every other, and leaves nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

use std::time::Duration;

use practice::postgres::Postgres;
use practice::program::{Invocation, ProgramError};
use practice::tools::Tools;

fn ask(tools: &Tools, url: &str, sql: &str) -> Result<String, ProgramError> {
    let psql = Invocation::new(tools.postgres().unwrap().join("psql"));
    let psql = psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", sql]).arg(url);
    let said = psql.run(Duration::from_secs(30))?.success()?;
    Ok(said.stdout.trim().to_owned())
}

#[test]
fn what_was_acknowledged_outlives_a_stop_and_a_crash() {
    let tools = Tools::find();
    let server = Postgres::start(&tools).unwrap();
    let url = server.database().unwrap();
    ask(&tools, &url, "CREATE TABLE t (n INT); INSERT INTO t VALUES (1)").unwrap();
    server.stop().unwrap();
    assert!(ask(&tools, &url, "SELECT 1").is_err());
    server.resume().unwrap();
    ask(&tools, &url, "INSERT INTO t VALUES (2)").unwrap();
    server.kill().unwrap();
    server.resume().unwrap();
    assert_eq!(ask(&tools, &url, "SELECT sum(n) FROM t").unwrap(), "3");
}

#[test]
fn each_database_is_empty_and_its_own() {
    let tools = Tools::find();
    let server = Postgres::shared(&tools).unwrap();
    let (one, other) = (server.database().unwrap(), server.database().unwrap());
    ask(&tools, &one, "CREATE TABLE t (n INT)").unwrap();
    assert!(ask(&tools, &other, "SELECT * FROM t").is_err());
}

#[test]
fn nothing_of_a_server_is_left() {
    let tools = Tools::find();
    let server = Postgres::start(&tools).unwrap();
    let url = server.database().unwrap();
    let folder = ask(&tools, &url, "SHOW data_directory").unwrap();
    assert!(std::path::Path::new(&folder).exists());
    drop(server);
    assert!(!std::path::Path::new(&folder).parent().unwrap().exists());
    assert!(ask(&tools, &url, "SELECT 1").is_err());
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let tools = Tools::find();
    let server = Postgres::shared(&tools).unwrap();
    let url = server.database().unwrap();
    let (_, rest) = url.split_once("rolecall:").unwrap();
    let (password, _) = rest.split_once('@').unwrap();
    assert!(ask(&tools, &url.replace(password, "other"), "SELECT 1").is_err());
    assert!(!format!("{server:?}").contains(password));
}
