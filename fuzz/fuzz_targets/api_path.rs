//! Paths and queries of the server's API: read or refused, and what is read leads back to itself.
#![no_main]

use api::{
    Endpoint,
    bindings::{ListBindings, ReadBinding},
    people::DisablePerson,
    switch::ReadSwitchStatus,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(parts) = ReadBinding::read_path(text) {
        let path = ReadBinding::target(&parts, &()).unwrap();
        assert_eq!(ReadBinding::read_path(&path), Ok(parts));
    }
    if let Ok(parts) = DisablePerson::read_path(text) {
        // Only `.` and `..` can be read and not be written: whoever normalises paths would lose them.
        if let Ok(path) = DisablePerson::target(&parts, &()) {
            assert_eq!(DisablePerson::read_path(&path), Ok(parts));
        }
    }
    if let Ok(asked) = ListBindings::read_query(Some(text)) {
        assert_eq!(ListBindings::read_query(query::<ListBindings>(&asked).as_deref()), Ok(asked));
    }
    if let Ok(scope) = ReadSwitchStatus::read_query(Some(text)) {
        assert_eq!(
            ReadSwitchStatus::read_query(query::<ReadSwitchStatus>(&scope).as_deref()),
            Ok(scope)
        );
    }
});

/// What stands behind the question mark when `asked` is asked.
fn query<E: Endpoint<Path = ()>>(asked: &E::Query) -> Option<String> {
    let target = E::target(&(), asked).unwrap();
    target.split_once('?').map(|(_, query)| query.to_owned())
}
