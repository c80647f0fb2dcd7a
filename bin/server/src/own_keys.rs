//! The deployment's own signing keys: one for orders, one for checkpoints. Each is made once, by whichever
//! replica comes first, and sealed in the database.

use getrandom::SysRng;
use issuer::{Algorithm, SigningKey};
use ledger::Draft;
use secret::SecretText;
use serde_json::json;
use state::{SealedRow, State, StateError};

use crate::{clock::Clock, rows, seal::Seal};

/// The name of the key that signs orders.
pub const ORDERS: &str = "orders-key";

/// The name of the key that signs checkpoints of the ledger.
pub const LEDGER: &str = "ledger-key";

/// The key of that name, made where there is none.
///
/// # Errors
/// When the database cannot be read or written, or the key file does not open what is there.
pub async fn own_key(
    state: &State,
    seal: &Seal,
    clock: &Clock,
    name: &'static str,
) -> Result<SigningKey, StateError> {
    let row = state.read().await?.sealed(name).await?;
    if let Some(row) = row {
        return open(seal, &row);
    }
    let key =
        SigningKey::generate(Algorithm::Es256, &mut SysRng).map_err(|error| refused(&error))?;
    let pem = key.to_pem().map_err(|error| refused(&error))?;
    let sealed = seal.seal(name, pem.expose().as_bytes()).map_err(|error| refused(&error))?;
    let mut act = state.act().await?;
    // Another replica may have been quicker; from here on none can.
    if let Some(row) = act.sealed(name).await? {
        return open(seal, &row);
    }
    let now = clock.now();
    let public = key.public().to_json();
    act.record(Draft::new("server", "key.made", name, json!({ "public": public }))?, now).await?;
    let body = rows::write("sealed", &public)?;
    act.put_sealed(&SealedRow { name: name.to_owned(), sealed, body }).await?;
    act.commit(now).await?;
    Ok(key)
}

fn open(seal: &Seal, row: &SealedRow) -> Result<SigningKey, StateError> {
    let opened = seal.unseal(&row.name, &row.sealed).map_err(|error| refused(&error))?;
    let damaged = |why: &dyn std::fmt::Display| StateError::Damaged {
        table: "sealed",
        why: format!("has a key `{}` that cannot be read: {why}", row.name).into(),
    };
    let pem = String::from_utf8(opened.expose().clone());
    let pem = pem.map_err(|error| damaged(&error.utf8_error()))?;
    SigningKey::from_pem(&SecretText::new(pem)).map_err(|error| damaged(&error))
}

/// The operator must act: bring the right key file, or give the machine randomness.
fn refused(error: &dyn std::fmt::Display) -> StateError {
    StateError::Settings { why: error.to_string() }
}
