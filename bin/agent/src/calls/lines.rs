//! The lines of a stream, which comes in pieces.

use calls::LINE_MAX;

/// The most bytes of a line that is not whole yet; with its line feed it would be too long.
const PARTIAL_MAX: usize = LINE_MAX + 1;

/// What is between two line feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A line, without its line feed.
    Line(&'a [u8]),
    /// A line that was too long to be kept.
    TooLong,
}

/// Puts lines together. Holds one that is not whole, and no more of it than a line may have.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    /// The beginning of the line was too long and was thrown away.
    skipping: bool,
}

impl Lines {
    /// Hands `each` the lines that are whole with these bytes. Empty lines are none.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            self.end(line, &mut each);
        }
        self.keep(rest);
    }

    /// The stream has ended: what has no line feed is a line as well, for a process that was killed wrote only whole ones.
    pub(super) fn finish(&mut self, mut each: impl FnMut(Piece<'_>)) {
        self.end(b"", &mut each);
    }

    fn end(&mut self, line: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        if self.partial.is_empty() && !self.skipping {
            match line {
                [] => {}
                line if line.len() > PARTIAL_MAX => each(Piece::TooLong),
                line => each(Piece::Line(line)),
            }
            return;
        }
        self.keep(line);
        if std::mem::take(&mut self.skipping) {
            each(Piece::TooLong);
        } else {
            each(Piece::Line(&self.partial));
        }
        // A long line may have been an exception: its room is given back.
        self.partial = Vec::new();
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.skipping {
            return;
        }
        if self.partial.len() + bytes.len() > PARTIAL_MAX {
            self.skipping = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]]) -> Vec<String> {
        let mut heard = Vec::new();
        let mut lines = Lines::default();
        let mut each = |piece: Piece<'_>| {
            heard.push(match piece {
                Piece::Line(line) => String::from_utf8(line.to_vec()).unwrap(),
                Piece::TooLong => "too long".to_owned(),
            });
        };
        pieces.iter().for_each(|piece| lines.push(piece, &mut each));
        lines.finish(&mut each);
        heard
    }

    #[track_caller]
    fn check(pieces: &[&str], expected: &[&str]) {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        assert_eq!(heard(&pieces), expected);
    }

    #[test]
    fn lines_are_whole_wherever_the_stream_is_cut() {
        let all = "one\n\ntwo\nthree";
        for cut in 0..=all.len() {
            let (before, after) = all.split_at(cut);
            check(&[before, after], &["one", "two", "three"]);
        }
        check(&["o", "n", "e", "\n"], &["one"]);
        check(&[], &[]);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_and_the_next_is_read() {
        let long = "x".repeat(LINE_MAX + 2);
        check(&[&format!("{long}\nnext\n")], &["too long", "next"]);
        for cut in [1, 100, LINE_MAX, LINE_MAX + 1] {
            let (before, after) = long.split_at(cut);
            check(&[before, after, &long, "\nnext\n"], &["too long", "next"]);
        }
    }
}
