//! One spelling for what an entry's detail says.

use serde_json::{Map, Value};

/// Objects and lists within one another, at most.
const DEPTH_MAX: usize = 8;

/// Why a detail has no single spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unspellable {
    /// A number with a fraction or an exponent, which programs print differently.
    Fraction,
    /// More levels than anybody needs.
    TooDeep,
}

/// The detail as JSON without white space, the members of each object in the order of their names' bytes.
///
/// Numbers are whole and within 64 bits, so that there is one way to write each. Strings are escaped as
/// `serde_json` does: `"`, `\` and what lies below U+0020, nothing else.
pub(crate) fn canonical(detail: &Map<String, Value>) -> Result<String, Unspellable> {
    let mut text = String::new();
    write_object(detail, DEPTH_MAX, &mut text)?;
    Ok(text)
}

fn write(value: &Value, depth: usize, text: &mut String) -> Result<(), Unspellable> {
    match value {
        Value::Object(members) => write_object(members, depth, text),
        Value::Array(items) => {
            let depth = depth.checked_sub(1).ok_or(Unspellable::TooDeep)?;
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, depth, text)?;
            }
            text.push(']');
            Ok(())
        }
        Value::Number(number) if !(number.is_i64() || number.is_u64()) => {
            Err(Unspellable::Fraction)
        }
        Value::String(plain) => write_text(plain, text),
        plain => {
            text.push_str(&plain.to_string());
            Ok(())
        }
    }
}

fn write_text(plain: &str, text: &mut String) -> Result<(), Unspellable> {
    // Every text can be spelled.
    text.push_str(&serde_json::to_string(plain).unwrap_or_default());
    Ok(())
}

fn write_object(
    members: &Map<String, Value>,
    depth: usize,
    text: &mut String,
) -> Result<(), Unspellable> {
    let depth = depth.checked_sub(1).ok_or(Unspellable::TooDeep)?;
    // The map may keep the order of insertion, if another crate asks serde_json for that.
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| name.as_bytes());
    text.push('{');
    for (index, (name, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_text(name, text)?;
        text.push(':');
        write(value, depth, text)?;
    }
    text.push('}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(detail: Value, expected: Result<&str, Unspellable>) {
        let Value::Object(detail) = detail else { panic!("not an object") };
        assert_eq!(canonical(&detail).as_deref(), expected.as_ref().copied());
    }

    #[test]
    fn members_are_sorted_and_nothing_is_spaced() {
        check(json!({}), Ok("{}"));
        check(
            json!({ "b": [1, -2, null, true], "a": { "d": "x", "c": {} }, "Z": "é\n\"" }),
            Ok("{\"Z\":\"é\\n\\\"\",\"a\":{\"c\":{},\"d\":\"x\"},\"b\":[1,-2,null,true]}"),
        );
    }

    #[test]
    fn what_has_no_single_spelling_is_refused() {
        check(json!({ "a": 1.5 }), Err(Unspellable::Fraction));
        check(json!({ "a": [[1e300]] }), Err(Unspellable::Fraction));
        check(json!({ "a": [[[[[[[[]]]]]]]] }), Err(Unspellable::TooDeep));
    }
}
