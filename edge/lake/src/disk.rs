//! Files of a folder, written whole or not at all. What `object_store` writes is not synced.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::error::LakeError;

/// What a name ends with while the file is written. After a crash it is found as an orphan.
const PARTIAL: &str = "partial";

fn refused(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LakeError {
    move |source| LakeError::Disk { act, path: path.to_owned(), source }
}

/// Makes a folder that only its owner may look into, and those above it that are missing.
pub(crate) fn make(folder: &Path) -> Result<(), LakeError> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|it| !it.exists()).collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(refused("make", folder))?;
    // A folder is there after a crash when the one that it is in was synced.
    for made in missing {
        let above = made.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync(above)?;
    }
    Ok(())
}

/// Writes a file. After it returned, the file is there with all that is in it, also after a crash; before, it is not there.
///
/// The name tells what is in it, so one that is there and as long is the same, and one that is not as long is put right.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), LakeError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make(folder)?;
    if fs::metadata(path).is_ok_and(|there| there.len() == bytes.len() as u64) {
        return sync(folder);
    }
    let partial = partial(path);
    let written = write_synced(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .map_err(refused("write", path));
    if written.is_err() {
        // What is left of it is an orphan, should this fail as well.
        let _ = fs::remove_file(&partial);
    }
    written?;
    sync(folder)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(folder: &Path) -> Result<(), LakeError> {
    File::open(folder).and_then(|it| it.sync_all()).map_err(refused("sync", folder))
}

/// A name beside that of the file, which no other writer has.
fn partial(path: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{number}.{PARTIAL}", std::process::id()));
    name.into()
}
