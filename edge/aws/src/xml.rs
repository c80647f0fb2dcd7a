//! Answers of AWS's query services: XML, read strictly.

use roxmltree::{Document, Node, ParsingOptions};

/// The most nodes in an answer.
const NODES_MAX: u32 = 4096;

/// An answer is not what it should be, and why in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Illegible(pub(crate) String);

/// Reads a whole document whose root is `name` of `namespace`. There is no second root, no document type, and
/// no entity but XML's own.
pub(crate) fn document<'a>(text: &'a [u8], root: (&str, &str)) -> Result<Document<'a>, Illegible> {
    let text = std::str::from_utf8(text).map_err(|_| Illegible("it is not text".to_owned()))?;
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options);
    let document = document.map_err(|error| Illegible(format!("it is not XML: {error}")))?;
    let (namespace, name) = root;
    let tag = document.root_element().tag_name();
    if tag.name() == name && tag.namespace() == Some(namespace) {
        Ok(document)
    } else {
        Err(Illegible(format!("it is not a `{name}` of `{namespace}`")))
    }
}

/// The element `name` in `node`, which has it once.
pub(crate) fn only<'a, 'd>(node: Node<'a, 'd>, name: &str) -> Result<Node<'a, 'd>, Illegible> {
    let namespace = node.tag_name().namespace();
    let mut found = node.children().filter(|child| {
        child.tag_name().name() == name && child.tag_name().namespace() == namespace
    });
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Illegible(format!("there is no `{name}`"))),
        (Some(_), Some(_)) => Err(Illegible(format!("there is more than one `{name}`"))),
    }
}

/// The text of the element `name` in `node`, which has it once and nothing but text in it.
pub(crate) fn text(node: Node<'_, '_>, name: &str) -> Result<String, Illegible> {
    plain(only(node, name)?)
}

/// The text of a node that holds nothing but text.
pub(crate) fn plain(node: Node<'_, '_>) -> Result<String, Illegible> {
    let mut children = node.children();
    match (children.next(), children.next()) {
        (None, _) => Ok(String::new()),
        (Some(only), None) if only.is_text() => Ok(only.text().unwrap_or_default().to_owned()),
        _ => Err(Illegible(format!("`{}` holds more than text", node.tag_name().name()))),
    }
}

/// AWS's code and message, where the answer is an error. Namespaces differ among services and are not looked
/// at: an error gives nobody anything.
pub(crate) fn error(body: &[u8]) -> Option<(String, String)> {
    let document = Document::parse(std::str::from_utf8(body).ok()?).ok()?;
    let said = |name: &str| {
        let found = document.descendants().find(|node| node.tag_name().name() == name);
        found.and_then(|node| node.text()).map(|text| text.chars().take(1024).collect::<String>())
    };
    Some((said("Code")?, said("Message").unwrap_or_default()))
}
