//! One package: its files laid out as on the host, and made into a `.deb` by Debian's own tools.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{house::House, programs, trouble::Trouble};

use super::{
    Commit, contents, contents::Package, licences, linked::Linked, programs_built::Programs,
    trouble,
};

/// Who answers for the packages. `.invalid` is no address: there is a tracker instead.
const MAINTAINER: &str = "The Rolecall authors <packages@rolecall.invalid>";

/// Mode of programs, scripts and folders.
const RUN: u32 = 0o755;
/// Mode of everything else: no file of a package holds a secret.
const READ: u32 = 0o644;

/// A package in the making.
pub(super) struct Stage<'a> {
    pub(super) house: &'a House,
    pub(super) commit: &'a Commit,
    pub(super) version: &'a str,
    pub(super) package: &'static Package,
}

impl Stage<'_> {
    /// Makes the package in `out`; `scratch` is a folder of ours.
    pub(super) fn make(
        &self,
        built: &Programs,
        linked: &Linked,
        scratch: &Path,
        out: &Path,
    ) -> Result<PathBuf, Trouble> {
        let root = scratch.join(self.package.name);
        built.pages(self.package.program, &root.join("usr/share"))?;
        let program = root.join("usr/bin").join(self.package.program);
        self.programs(built, &program)?;
        self.files(&root)?;
        self.documents(&root, linked)?;
        compress(&root.join("usr/share/man"))?;
        modes(&root)?;
        self.control(&root, scratch, &program)?;
        modes(&root.join("DEBIAN"))?;
        let architecture = architecture()?;
        let name = format!("{}_{}_{architecture}.deb", self.package.name, self.version);
        let file = out.join(name);
        let mut deb = Command::new("dpkg-deb");
        deb.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root).arg(&file);
        programs::output(deb.env("SOURCE_DATE_EPOCH", &self.commit.epoch))?;
        Ok(file)
    }

    fn programs(&self, built: &Programs, place: &Path) -> Result<(), Trouble> {
        folder_of(place)?;
        let mut strip = Command::new("strip");
        strip.args(["--strip-unneeded", "-o"]).arg(place);
        programs::output(strip.arg(built.path(self.package.program)))?;
        Ok(())
    }

    fn files(&self, root: &Path) -> Result<(), Trouble> {
        for (name, place) in self.package.files {
            let to = root.join(place.trim_start_matches('/')).join(name);
            folder_of(&to)?;
            copy(&self.folder().join(name), &to)?;
        }
        Ok(())
    }

    fn documents(&self, root: &Path, linked: &Linked) -> Result<(), Trouble> {
        let share = root.join("usr/share");
        let folder = share.join("doc").join(self.package.name);
        fs::create_dir_all(&folder).map_err(|reason| trouble(&folder, reason))?;
        copy(&self.house.root.join("packaging/copyright"), &folder.join("copyright"))?;
        copy(&self.house.root.join("CHANGELOG.md"), &folder.join("NEWS"))?;
        write(&folder.join("changelog"), &self.changelog())?;
        let others = linked.below(self.package.krate)?;
        write(&folder.join("third-party-licences"), &licences::text(&others)?)?;
        compress(&folder.join("NEWS"))?;
        compress(&folder.join("changelog"))?;
        compress(&folder.join("third-party-licences"))
    }

    /// What Debian's tools read: that there is this version. What is new in it is in `NEWS`.
    fn changelog(&self) -> String {
        let (version, date) = (self.version, &self.commit.date);
        format!(
            "rolecall ({version}) unstable; urgency=medium\n\n  * What is new is in NEWS.gz beside this file.\n\n \
             -- {MAINTAINER}  {date}\n"
        )
    }

    fn control(&self, root: &Path, scratch: &Path, program: &Path) -> Result<(), Trouble> {
        let control = root.join("DEBIAN");
        fs::create_dir_all(&control).map_err(|reason| trouble(&control, reason))?;
        for script in contents::SCRIPTS {
            let from = self.folder().join(script);
            if from.is_file() {
                copy(&from, &control.join(script))?;
            }
        }
        let kept = self.package.files.iter().filter(|(_, place)| place.starts_with("/etc/"));
        let kept: String = kept.map(|(name, place)| format!("{place}/{name}\n")).collect();
        if !kept.is_empty() {
            write(&control.join("conffiles"), &kept)?;
        }
        let (sums, bytes) = sums(root)?;
        write(&control.join("md5sums"), &sums)?;
        let libraries = libraries(scratch, program)?;
        write(&control.join("control"), &self.control_text(&libraries, bytes)?)
    }

    fn control_text(&self, libraries: &str, bytes: u64) -> Result<String, Trouble> {
        let Package { name, title, about, depends, suggests, .. } = self.package;
        let mut text = format!(
            "Package: {name}\nSource: rolecall\nVersion: {}\nArchitecture: {}\nMaintainer: {MAINTAINER}\n\
             Section: admin\nPriority: optional\nInstalled-Size: {}\n",
            self.version,
            architecture()?,
            bytes.div_ceil(1024),
        );
        let depends: Vec<&str> = [libraries].iter().chain(*depends).copied().collect();
        text += &format!("Depends: {}\n", depends.join(", "));
        if !suggests.is_empty() {
            text += &format!("Suggests: {}\n", suggests.join(", "));
        }
        text += &format!("Description: {title}\n");
        for line in about.lines() {
            text += &format!(" {line}\n");
        }
        Ok(text)
    }

    fn folder(&self) -> PathBuf {
        self.house.root.join("packaging").join(self.package.folder)
    }
}

/// Debian's word for this machine's kind.
fn architecture() -> Result<String, Trouble> {
    let said = programs::output(Command::new("dpkg").arg("--print-architecture"))?;
    Ok(said.trim().to_owned())
}

/// The libraries that a program is linked with, in the oldest versions that have what it uses.
fn libraries(scratch: &Path, program: &Path) -> Result<String, Trouble> {
    // It wants to be called from a source package.
    let source = scratch.join("source");
    write(
        &source.join("debian/control"),
        "Source: rolecall\n\nPackage: rolecall\nArchitecture: any\n",
    )?;
    let mut ask = Command::new("dpkg-shlibdeps");
    let said = programs::output(ask.current_dir(&source).arg("-O").arg(program))?;
    let found = said.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    found.map(str::to_owned).ok_or_else(|| Trouble::Unreadable {
        what: "the answer of `dpkg-shlibdeps`".to_owned(),
        reason: format!("`{said}`"),
    })
}

/// The sums of all files in `root`, as dpkg keeps them, and their size.
fn sums(root: &Path) -> Result<(String, u64), Trouble> {
    let mut bytes = 0;
    let mut names = Vec::new();
    for path in files(root)? {
        bytes += fs::metadata(&path).map_err(|reason| trouble(&path, reason))?.len();
        let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
        let first = name.components().next().map(|part| part.as_os_str().to_owned());
        // Files of configuration change; their sums are kept elsewhere.
        if first.is_some_and(|first| first != "DEBIAN" && first != "etc") {
            names.push(name);
        }
    }
    let mut md5 = Command::new("md5sum");
    Ok((programs::output(md5.current_dir(root).args(&names))?, bytes))
}

/// Compresses a file, or every file in a folder, without a name or a time inside.
fn compress(path: &Path) -> Result<(), Trouble> {
    let files = if path.is_dir() { files(path)? } else { vec![path.to_owned()] };
    let mut gzip = Command::new("gzip");
    programs::output(gzip.args(["-9", "--no-name"]).args(files)).map(drop)
}

/// Sets the mode of everything below `root`, so that no umask decides it.
fn modes(root: &Path) -> Result<(), Trouble> {
    let fail = |reason| trouble(root, reason);
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    for path in files(root)? {
        let within = path.strip_prefix(root).unwrap_or(&path);
        let is_script = contents::SCRIPTS.iter().any(|name| within == Path::new(name));
        let is_program = within.starts_with("usr/bin");
        set(&path, if is_script || is_program { RUN } else { READ }).map_err(fail)?;
    }
    for folder in folders(root).map_err(fail)? {
        set(&folder, RUN).map_err(fail)?;
    }
    Ok(())
}

/// Every file below a folder, in order.
fn files(root: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let fail = |reason| trouble(root, reason);
    let mut found = Vec::new();
    for folder in folders(root).map_err(fail)? {
        for entry in fs::read_dir(folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if !path.is_dir() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A folder and every folder below it.
fn folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![root.to_owned()];
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(folders(&path)?);
        }
    }
    Ok(found)
}

fn folder_of(file: &Path) -> Result<(), Trouble> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder).map_err(|reason| trouble(folder, reason))
}

fn copy(from: &Path, to: &Path) -> Result<(), Trouble> {
    fs::copy(from, to).map(drop).map_err(|reason| trouble(from, reason))
}

fn write(file: &Path, text: &str) -> Result<(), Trouble> {
    folder_of(file)?;
    fs::write(file, text).map_err(|reason| trouble(file, reason))
}
