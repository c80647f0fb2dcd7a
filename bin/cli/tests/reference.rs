//! The reference says what the program says.

use std::path::Path;

use practice::manual;

#[test]
fn the_reference_has_the_programs_own_help() {
    let page = manual::page(Path::new(env!("CARGO_BIN_EXE_rolecall"))).unwrap();
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rolecall.md");
    std::fs::write(&fresh, &page).unwrap();
    let page_in_docs =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/rolecall.md");
    assert!(
        std::fs::read_to_string(page_in_docs).is_ok_and(|told| told == page),
        "copy {} to docs/reference/",
        fresh.display()
    );
}
