//! What a person sees of the demo.

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use super::{Shown, trouble};
use crate::trouble::Trouble;

pub(super) fn print(shown: &Shown, json: bool) -> Result<(), Trouble> {
    if json {
        println!("{}", serde_json::to_string_pretty(shown).map_err(trouble)?);
        return Ok(());
    }
    let mut acted = table(["who asked", "how they were identified", "what they got"]);
    for row in &shown.workloads {
        let programs: Vec<&str> =
            row.programs.iter().map(|program| program.name.as_str()).collect();
        let who = format!("{}\n({})", row.name, programs.join(", "));
        let evidence = row.evidence.replace(" and ", "\nand ");
        let got = format!("account {}\n{}\n{}", row.account, row.role_arn, row.caller_arn);
        acted.add_row([who, evidence, got]);
    }
    let mut refused = table(["who tried", "what they wanted", "what they got"]);
    for row in &shown.refused {
        refused.add_row([&row.who, &row.wanted, &row.why]);
    }
    println!("\nEach workload acts in its own account:\n{acted}");
    println!("\nAnd in no other:\n{refused}");
    for wrong in &shown.broken {
        println!("NOT AS PROMISED: {wrong}");
    }
    Ok(())
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}
