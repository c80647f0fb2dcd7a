//! Where a page of a list ended: the key of its last item, as a text that means nothing to callers.

use api::{Cursor, LIMIT, Limit, Page, Problem};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

/// How many items a page has at most.
pub fn limit(asked: Option<Limit>) -> u32 {
    asked.unwrap_or(LIMIT).get()
}

/// Reads the key that a page before ended with.
///
/// # Errors
/// When the caller sends another text than the `next` that they were given.
pub fn read<K: DeserializeOwned>(after: Option<&Cursor>) -> Result<Option<K>, Problem> {
    let Some(after) = after else { return Ok(None) };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(after.as_str()).ok();
    let key = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let wrong = || Problem::malformed("`after` is not the `next` of a page of this list");
    key.map(Some).ok_or_else(wrong)
}

/// Writes the key that a page ends with.
pub fn write<K: Serialize>(key: &K) -> Option<Cursor> {
    let json = serde_json::to_vec(key).ok()?;
    BASE64_URL_SAFE_NO_PAD.encode(json).parse().ok()
}

/// A page of at most `limit` items, of which one more was read to see whether there are any behind it.
pub fn page<T, K: Serialize>(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> K) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).and_then(|last| write(&key(last)));
    Page { items, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_begins_only_where_there_is_one() {
        let two = page(vec!["a", "b", "c"], 2, |item| (*item).to_owned());
        assert_eq!(two.items, ["a", "b"]);
        assert_eq!(read::<String>(two.next.as_ref()).unwrap().as_deref(), Some("b"));
        assert_eq!(page(vec!["a", "b"], 2, |item| (*item).to_owned()).next, None);
    }

    #[test]
    fn the_longest_keys_there_are_fit_into_a_cursor() {
        let key = ("a".repeat(258), "h".repeat(64));
        assert_eq!(read::<(String, String)>(write(&key).as_ref()).unwrap(), Some(key));
    }

    #[test]
    fn a_text_that_is_no_cursor_of_this_list_is_refused() {
        for text in ["x", "W10", "eyJhIjoxfQ"] {
            assert!(read::<(String, String)>(Some(&text.parse().unwrap())).is_err(), "{text}");
        }
    }
}
