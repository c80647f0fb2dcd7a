use std::{fmt, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, path::Path};

use crate::{
    disk,
    error::{LakeError, READ},
    piece::Piece,
};

/// A lake: the files of one place. Clones are the same lake.
#[derive(Clone)]
pub struct Lake {
    objects: Arc<dyn ObjectStore>,
    store: Store,
}

/// What kind of place it is.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Folder(PathBuf),
    Bucket,
}

/// How many files are written at once.
const AT_ONCE: usize = 4;
/// How many files the store is asked about at once.
const LOOKS: usize = 16;

impl Lake {
    pub(crate) fn of(objects: Arc<dyn ObjectStore>, store: Store) -> Self {
        Self { objects, store }
    }

    /// What reads.
    pub(crate) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// Writes files, each whole. Those that are there already with the same name are the same.
    pub(crate) async fn put_all(
        &self,
        files: Vec<(Piece, Bytes)>,
    ) -> Result<Vec<Piece>, LakeError> {
        let puts = files.into_iter().map(|(piece, bytes)| self.clone().put_one(piece, bytes));
        futures::stream::iter(puts).buffered(AT_ONCE).try_collect().await
    }

    async fn put_one(self, piece: Piece, bytes: Bytes) -> Result<Piece, LakeError> {
        self.put(&piece.path, bytes).await?;
        Ok(piece)
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), LakeError> {
        match &self.store {
            Store::Folder(root) => {
                let full = root.join(path);
                let done = tokio::task::spawn_blocking(move || disk::write(&full, &bytes)).await;
                done.map_err(|error| LakeError::layout(error.to_string()))?
            }
            Store::Bucket => self.put_object(path, bytes).await,
        }
    }

    async fn put_object(&self, path: &str, bytes: Bytes) -> Result<(), LakeError> {
        let len = bytes.len() as u64;
        let location = location(path)?;
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&location, PutPayload::from(bytes), create).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                let there = self.objects.head(&location).await;
                let there = there.map_err(|error| LakeError::store("look at", path, &error))?;
                if there.size == len {
                    Ok(())
                } else {
                    let why = format!("it has {} bytes, and {len} belong there", there.size);
                    Err(LakeError::damaged(path, why))
                }
            }
            Err(error) => Err(LakeError::store("write", path, &error)),
        }
    }

    /// All of a file.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes, LakeError> {
        let refused = |error| LakeError::store(READ, path, &error);
        let found = self.objects.get(&location(path)?).await.map_err(refused)?;
        found.bytes().await.map_err(refused)
    }

    /// What is wrong with the first of these files that is not there, or not as long as it was; where all are, one of them is damaged within,
    /// and the reader's word is all there is. The store is asked about every file, which only a question that failed is worth.
    pub(crate) async fn damage(&self, pieces: &[Piece], why: &str) -> LakeError {
        let looks = pieces.to_vec().into_iter().map(|piece| self.clone().look(piece));
        let looked: Result<(), LakeError> =
            futures::stream::iter(looks).buffered(LOOKS).try_collect().await;
        match looked {
            Err(error) => error,
            Ok(()) => LakeError::damaged("a file of the lake", why),
        }
    }

    async fn look(self, piece: Piece) -> Result<(), LakeError> {
        let path = &piece.path;
        let there = self.objects.head(&location(path)?).await;
        let there = there.map_err(|error| LakeError::store(READ, path, &error))?;
        if there.size == piece.bytes {
            return Ok(());
        }
        let why = format!("it has {} bytes, and had {}", there.size, piece.bytes);
        Err(LakeError::damaged(path, why))
    }

    /// Removes a file. One that is not there any more is removed.
    ///
    /// Take it out of the manifest first, and leave questions that began before the time to end.
    ///
    /// # Errors
    /// [`LakeError::Store`] where the store refuses.
    pub async fn remove(&self, path: &str) -> Result<(), LakeError> {
        match self.objects.delete(&location(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(LakeError::store("remove", path, &error)),
        }
    }

    /// What is in the store, file by file: path and when it was written.
    pub(crate) async fn list(&self) -> Result<Vec<(String, jiff::Timestamp)>, LakeError> {
        let listed: Vec<_> = self
            .objects
            .list(None)
            .try_collect()
            .await
            .map_err(|error| LakeError::store("list", "", &error))?;
        let file = |meta: object_store::ObjectMeta| {
            let written = jiff::Timestamp::from_millisecond(meta.last_modified.timestamp_millis());
            (meta.location.to_string(), written.unwrap_or(jiff::Timestamp::MAX))
        };
        Ok(listed.into_iter().map(file).collect())
    }
}

pub(crate) fn location(path: &str) -> Result<Path, LakeError> {
    Path::parse(path).map_err(|error| LakeError::damaged(path, error))
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").field("objects", &self.objects.to_string()).finish()
    }
}
