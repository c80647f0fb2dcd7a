use std::{collections::BTreeMap, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    house::{House, text},
    private_host::PrivateHost,
    programs::{self, Hear},
    suites::{BUILD_LIMIT, suite_of},
    trouble::Trouble,
};

/// The workspace's test programs, built in one go so that nothing is compiled twice.
#[derive(Debug, Default)]
pub(super) struct Built {
    programs: Vec<Program>,
    /// The ordinary programs, by name: tests start them.
    ours: BTreeMap<String, PathBuf>,
}

/// A test program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// What it tests: `core/metadata`, `edge/linux tests/namespaces.rs`.
    pub(super) name: String,
    suite: &'static str,
    folder: PathBuf,
    executable: PathBuf,
}

/// The command that builds them.
pub(super) fn command(house: &House) -> Command {
    let mut cargo = programs::cargo(house);
    cargo.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-run"]);
    cargo.arg("--message-format=json-render-diagnostics");
    cargo
}

impl Built {
    /// Builds them.
    pub(super) fn build(house: &House) -> Result<Self, Trouble> {
        let mut built = Self::default();
        let mut command = command(house);
        let ended = programs::read(&mut command, Hear::Output, BUILD_LIMIT, |line| {
            built.artifact(house, line);
        })?;
        ended.or_trouble(&command)?;
        built.programs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(built)
    }

    /// Takes in one of cargo's messages.
    fn artifact(&mut self, house: &House, message: &str) {
        let Ok(message) = serde_json::from_str::<Value>(message) else { return };
        let Some(executable) = message.get("executable").and_then(Value::as_str) else { return };
        let Some(target) = message.get("target") else { return };
        let name = text(target, "name");
        let is = |kind: &str| {
            let kinds = target.get("kind").and_then(Value::as_array);
            kinds.is_some_and(|kinds| kinds.iter().any(|k| k == kind))
        };
        let is_test = message.pointer("/profile/test").and_then(Value::as_bool) == Some(true);
        if !is_test {
            if is("bin") {
                self.ours.insert(name, executable.into());
            }
            return;
        }
        let manifest = PathBuf::from(text(&message, "manifest_path"));
        let folder = manifest.parent().unwrap_or(&house.root).to_owned();
        let place = folder.strip_prefix(&house.root).unwrap_or(&folder).display().to_string();
        let file = is("test").then_some(name.as_str());
        let suite = suite_of(&place, file);
        let name = match file {
            Some(file) => format!("{place} tests/{file}.rs"),
            None if is("bin") => format!("{place} src/main.rs"),
            None => place,
        };
        self.programs.push(Program { name, suite, folder, executable: executable.into() });
    }

    /// The programs of a suite, by name.
    pub(super) fn of(&self, suite: &str) -> impl Iterator<Item = &Program> {
        self.programs.iter().filter(move |program| program.suite == suite)
    }

    /// The command that runs a program as `cargo test` would, or in a private host.
    pub(super) fn command(
        &self,
        house: &House,
        program: &Program,
        way: Option<PrivateHost>,
    ) -> Command {
        let mut command = match way {
            None => programs::command(house, &program.executable),
            Some(way) => way.command(house, &program.executable),
        };
        command.current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder);
        for (name, path) in &self.ours {
            command.env(format!("CARGO_BIN_EXE_{name}"), path);
        }
        command
    }

    /// How many tests a program has.
    pub(super) fn count(&self, house: &House, program: &Program) -> u64 {
        let mut command = self.command(house, program, None);
        let listed = programs::output(command.args(["--list", "--format", "terse"]));
        let listed = listed.unwrap_or_default();
        let tests = listed.lines().filter(|line| line.ends_with(": test")).count();
        tests.try_into().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check(message: &str, program: Option<(&str, &str)>, ours: Option<&str>) {
        let house = House { root: "/r".into(), ..House::default() };
        let mut built = Built::default();
        built.artifact(&house, message);
        let found = built.programs.first().map(|found| (found.name.as_str(), found.suite));
        assert_eq!(found, program);
        assert_eq!(built.ours.keys().next().map(String::as_str), ours);
    }

    #[test]
    fn a_test_program_is_named_after_its_file() {
        check(
            r#"{"reason": "compiler-artifact", "manifest_path": "/r/edge/linux/Cargo.toml",
                "target": {"name": "namespaces", "kind": ["test"]}, "profile": {"test": true},
                "executable": "/t/namespaces-1"}"#,
            Some(("edge/linux tests/namespaces.rs", "namespaces")),
            None,
        );
    }

    #[test]
    fn a_library_is_named_after_its_crate() {
        check(
            r#"{"reason": "compiler-artifact", "manifest_path": "/r/core/secret/Cargo.toml",
                "target": {"name": "secret", "kind": ["lib"]}, "profile": {"test": true},
                "executable": "/t/secret-1"}"#,
            Some(("core/secret", "unit")),
            None,
        );
    }

    #[test]
    fn an_ordinary_program_is_kept_for_the_tests_that_start_it() {
        check(
            r#"{"reason": "compiler-artifact", "manifest_path": "/r/bin/agent/Cargo.toml",
                "target": {"name": "rolecall-agent", "kind": ["bin"]}, "profile": {"test": false},
                "executable": "/t/rolecall-agent"}"#,
            None,
            Some("rolecall-agent"),
        );
    }

    #[test]
    fn other_messages_are_passed_over() {
        check(r#"{"reason": "build-finished", "success": true}"#, None, None);
        check("not JSON at all", None, None);
        check(r#"{"executable": null, "target": {"name": "a", "kind": ["lib"]}}"#, None, None);
    }

    #[test]
    fn programs_start_in_the_folder_of_their_crate() {
        let program = Program {
            name: "core/secret".to_owned(),
            suite: "unit",
            folder: "/r/core/secret".into(),
            executable: "/t/secret-1".into(),
        };
        let command = Built::default().command(&House::default(), &program, None);
        assert_eq!(command.get_current_dir(), Some(Path::new("/r/core/secret")));
    }
}
