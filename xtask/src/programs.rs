//! Running other programs: their output is passed on as it comes, and read on the way.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{house::House, trouble::Trouble};

/// How often a silent program is looked after.
const LOOK: Duration = Duration::from_millis(200);
/// How long the output of an ended program is waited for. A daemon that it left behind may hold the
/// pipe open for ever.
const LINGER: Duration = Duration::from_secs(2);

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With exit code 0.
    Well,
    /// With another code or by a signal; the words say which.
    Badly(String),
    /// It was still running at its time limit and was killed.
    Late(Duration),
}

impl Ended {
    /// Whether all is well.
    pub(crate) fn well(&self) -> bool {
        *self == Self::Well
    }

    /// The end in words.
    pub(crate) fn how(&self) -> String {
        match self {
            Self::Well => "exit status: 0".to_owned(),
            Self::Badly(how) => how.clone(),
            Self::Late(limit) => format!("killed after {} s", limit.as_secs()),
        }
    }

    /// The end as a result, for programs that must not fail.
    pub(crate) fn or_trouble(&self, command: &Command) -> Result<(), Trouble> {
        if self.well() {
            return Ok(());
        }
        Err(Trouble::Failed { command: typed(command), how: self.how() })
    }
}

/// A command that runs at the root of the clone and that finds the same target folder as we do.
pub(crate) fn command(house: &House, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&house.root).env("CARGO_TARGET_DIR", &house.target).stdin(Stdio::null());
    command
}

/// The cargo that runs us.
pub(crate) fn cargo(house: &House) -> Command {
    command(house, std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Puts a folder in front of PATH.
pub(crate) fn path_with(folder: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap_or(path)
}

/// The command as a person would type it.
pub(crate) fn typed(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs a program whose output goes to ours.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Ended, Trouble> {
    let mut child = start(command)?;
    let begun = Instant::now();
    // A plain `wait` knows no time limit, and the programs run for seconds to minutes.
    loop {
        if let Some(ended) = ended(&mut child, begun, limit)? {
            return Ok(ended);
        }
        thread::sleep(LOOK);
    }
}

/// What of a program's output is read; the rest goes to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hear {
    /// Standard output alone.
    Output,
    /// Standard output and standard error, in the order in which they were written.
    All,
}

/// Runs a program and hands each line that it prints to `line`.
pub(crate) fn read(
    command: &mut Command,
    hear: Hear,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> Result<Ended, Trouble> {
    let pipe = |reason| Trouble::File { path: "a new pipe".to_owned(), reason };
    let (output, ours) = io::pipe().map_err(pipe)?;
    if hear == Hear::All {
        command.stderr(ours.try_clone().map_err(pipe)?);
    }
    let mut child = start(command.stdout(ours))?;
    // The command holds our ends of the pipe; while it does, the pipe cannot end.
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let begun = Instant::now();
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut bytes = Vec::new();
        while matches!(output.read_until(b'\n', &mut bytes), Ok(1..)) {
            let text = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
            bytes.clear();
            if send.send(text).is_err() {
                break;
            }
        }
    });
    let mut over: Option<(Ended, Instant)> = None;
    loop {
        match lines.recv_timeout(LOOK) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if over.is_some() => break,
            Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK / 10),
        }
        match &over {
            Some((_, since)) if since.elapsed() > LINGER => break,
            Some(_) => {}
            None => over = ended(&mut child, begun, limit)?.map(|ended| (ended, Instant::now())),
        }
    }
    Ok(over.map_or(Ended::Well, |(ended, _)| ended))
}

/// Runs a program and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, Trouble> {
    let program = typed(command);
    let output =
        command.output().map_err(|reason| Trouble::Start { program: program.clone(), reason })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let how = format!("{}: {said}", output.status);
        return Err(Trouble::Failed { command: program, how });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be started and ends well; says nothing.
pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn start(command: &mut Command) -> Result<Child, Trouble> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|reason| Trouble::Start { program, reason })
}

fn ended(child: &mut Child, begun: Instant, limit: Duration) -> Result<Option<Ended>, Trouble> {
    let wait = |reason| Trouble::File { path: "child process".to_owned(), reason };
    if let Some(status) = child.try_wait().map_err(wait)? {
        let ended = if status.success() { Ended::Well } else { Ended::Badly(status.to_string()) };
        return Ok(Some(ended));
    }
    if begun.elapsed() < limit {
        return Ok(None);
    }
    child.kill().map_err(wait)?;
    child.wait().map_err(wait)?;
    Ok(Some(Ended::Late(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, limit: Duration, ended: &Ended, lines: &[&str]) {
        let mut seen = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let how = read(&mut command, Hear::All, limit, |line| seen.push(line.to_owned()));
        assert_eq!(how.unwrap(), *ended);
        assert_eq!(seen, lines);
    }

    #[test]
    fn every_line_is_seen_even_an_unfinished_last_one() {
        check("echo a; echo b; printf c", Duration::from_secs(60), &Ended::Well, &["a", "b", "c"]);
    }

    #[test]
    fn errors_are_heard_in_their_place() {
        let script = "echo a; echo b >&2; echo c";
        check(script, Duration::from_secs(60), &Ended::Well, &["a", "b", "c"]);
    }

    #[test]
    fn a_bad_exit_code_is_never_lost_in_the_pipe() {
        let badly = Ended::Badly("exit status: 7".to_owned());
        check("echo a; exit 7", Duration::from_secs(60), &badly, &["a"]);
    }

    #[test]
    fn a_program_past_its_limit_is_killed_and_what_it_said_is_kept() {
        let limit = Duration::from_millis(300);
        check("echo a; exec sleep 600", limit, &Ended::Late(limit), &["a"]);
    }

    #[test]
    fn a_daemon_that_holds_the_pipe_does_not_hold_us() {
        let begun = Instant::now();
        check("sleep 20 & echo a", Duration::from_secs(60), &Ended::Well, &["a"]);
        assert!(begun.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn a_missing_program_is_named() {
        let trouble = run(&mut Command::new("no-such-program"), LOOK).unwrap_err();
        assert!(trouble.to_string().starts_with("cannot start `no-such-program`"), "{trouble}");
    }
}
