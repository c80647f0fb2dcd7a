//! Time since boot, and which boot it is.

use std::{fs, io, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Time since this machine booted, sleep included. It never jumps and never runs backwards.
///
/// ```
/// let first = linux::clock::boot();
/// assert!(linux::clock::boot() >= first);
/// ```
///
/// [clock_gettime(2), CLOCK_BOOTTIME](https://man7.org/linux/man-pages/man2/clock_gettime.2.html)
pub fn boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

/// The random number that the kernel drew when it booted: tells two boots apart.
///
/// # Errors
///
/// The file cannot be read (no `/proc`) or does not hold a UUID.
///
/// [random(4)](https://man7.org/linux/man-pages/man4/random.4.html)
pub fn boot_id() -> io::Result<[u8; 16]> {
    parse_uuid(&fs::read_to_string(BOOT_ID)?).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("`{BOOT_ID}` does not hold a uuid"))
    })
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.trim().bytes().filter(|byte| *byte != b'-');
    let mut id = [0; 16];
    for byte in &mut id {
        let high = char::from(digits.next()?).to_digit(16)?;
        let low = char::from(digits.next()?).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(id)
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<[u8; 16]>) {
        assert_eq!(parse_uuid(text), expected);
    }

    #[test]
    fn a_boot_id_is_sixteen_bytes_in_hexadecimal() {
        let bytes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        check("00010203-0405-0607-0809-0a0b0c0d0eff\n", Some(bytes));
        check("00010203-0405-0607-0809-0a0b0c0d0e", None);
        check("00010203-0405-0607-0809-0a0b0c0d0eff00", None);
        check("not a uuid", None);
    }

    #[test]
    fn the_boot_id_stays_the_same_within_a_boot() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }
}
