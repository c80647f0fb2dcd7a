//! Keys. Their private halves are sealed by who puts them here: the database alone opens nothing.

use crate::act::Weight;
use crate::link::Statement;
use crate::stored::rows;
use crate::{Act, Reading, StateError};

rows! {
    /// A key of the issuer.
    pub struct IssuerKeyRow in issuer_keys (kid) {
        /// Its id.
        kid: String,
        /// What it does now.
        state: String,
        /// What else belongs to it, its public half first of all, as JSON.
        body: String,
        /// Its private half, sealed; none where another service holds it.
        sealed: Option<String>,
    }

    /// A secret of the servers, sealed: the authority, the keys of orders and of checkpoints.
    pub struct SealedRow in sealed (name) {
        /// Its name.
        name: String,
        /// The secret, sealed.
        sealed: String,
        /// What belongs to it in the open, as JSON.
        body: String,
    }
}

impl Reading {
    /// Every key of the issuer, by id.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn issuer_keys(&mut self) -> Result<Vec<IssuerKeyRow>, StateError> {
        self.link.many(Statement::new("ORDER BY kid")).await
    }

    /// A key of the issuer by its id.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn issuer_key(&mut self, kid: &str) -> Result<Option<IssuerKeyRow>, StateError> {
        self.link.by_key(kid).await
    }

    /// Every sealed secret, by name.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn all_sealed(&mut self) -> Result<Vec<SealedRow>, StateError> {
        self.link.many(Statement::new("ORDER BY name")).await
    }

    /// A sealed secret by its name.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn sealed(&mut self, name: &str) -> Result<Option<SealedRow>, StateError> {
        self.link.by_key(name).await
    }
}

impl Act {
    /// Puts a key of the issuer.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_issuer_key(&mut self, row: &IssuerKeyRow) -> Result<(), StateError> {
        self.put(Weight::Known, row).await
    }

    /// Removes a key of the issuer; answers whether it was there.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn delete_issuer_key(&mut self, kid: &str) -> Result<bool, StateError> {
        let delete = Statement::new("DELETE FROM issuer_keys WHERE kid = $1").text(kid);
        Ok(self.change(Weight::Known, delete).await? > 0)
    }

    /// Puts a sealed secret.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_sealed(&mut self, row: &SealedRow) -> Result<(), StateError> {
        self.put(Weight::Known, row).await
    }

    /// Removes a sealed secret; answers whether it was there.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn delete_sealed(&mut self, name: &str) -> Result<bool, StateError> {
        let delete = Statement::new("DELETE FROM sealed WHERE name = $1").text(name);
        Ok(self.change(Weight::Known, delete).await? > 0)
    }
}
