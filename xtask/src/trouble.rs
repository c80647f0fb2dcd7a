/// Why a command of `cargo xtask` could not do its work. The person at the keyboard must act.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A program that is needed could not be started.
    #[error("cannot start `{program}`: {reason}; is it installed and in PATH?")]
    Start {
        /// The program's name.
        program: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A program that was started did not do its work.
    #[error("`{command}` failed ({how})")]
    Failed {
        /// The command as a person would type it.
        command: String,
        /// How it ended, and what it said where we had asked for its output.
        how: String,
    },
    /// A file or folder could not be read or written.
    #[error("`{path}`: {reason}")]
    File {
        /// The path.
        path: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A program or file said something that we do not understand.
    #[error("{what} is not as expected: {reason}")]
    Unreadable {
        /// What was read.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing of that name.
    #[error("there is no {kind} `{name}`; there are: {all}")]
    Unknown {
        /// The kind of thing that was named.
        kind: &'static str,
        /// The name that was given.
        name: String,
        /// The names that exist.
        all: String,
    },
    /// What was asked for cannot be done on this machine.
    #[error("{0}")]
    Missing(String),
}
