//! Mutations: of bytes, by what breaks parsers; of JSON, by values that a schema may have let through, in any place.

use proptest::{
    prelude::*,
    sample::{Index, select},
};
use serde_json::{Value, json};

/// What breaks parsers and screens, to be put anywhere.
const TOKENS: &[&str] = &[
    "&a",
    "*a",
    "<<: *a",
    "!!binary",
    "|",
    ">-",
    "? ",
    "- - - - ",
    "{{{{",
    "[[[[",
    "---\n",
    "...\n",
    "\t",
    "\u{0}",
    "\u{1b}[2K\r",
    "\u{202e}",
    "\u{feff}",
    "99999999999999999999",
    "-1",
    "1e400",
    ".nan",
    "null",
    "~",
    "''",
    "\"",
    "'",
    ": ",
    "#",
    "%YAML 9.9\n",
    "apiVersion: stepgate.dev/v1alpha1\n",
    "2h60m99999999999ms",
];

/// One change of a text.
#[derive(Clone, Debug)]
pub enum Edit {
    Insert(Index, String),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
}

/// A change of a text, at any place.
pub fn edit() -> impl Strategy<Value = Edit> {
    let token = prop_oneof![select(TOKENS).prop_map(str::to_owned), any::<String>()];
    prop_oneof![
        (any::<Index>(), token).prop_map(|(at, text)| Edit::Insert(at, text)),
        (any::<Index>(), 1usize..40).prop_map(|(at, length)| Edit::Remove(at, length)),
        (any::<Index>(), 1usize..60, 2usize..20).prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
    ]
}

impl Edit {
    /// Makes the change. What is not UTF-8 any more is read as programs read it.
    pub fn make(&self, text: &mut Vec<u8>) {
        let place = |at: &Index| at.index(text.len() + 1);
        match self {
            Self::Insert(at, token) => {
                let at = place(at);
                text.splice(at..at, token.bytes());
            }
            Self::Remove(at, length) => {
                let at = place(at);
                text.drain(at..(at + length).min(text.len()));
            }
            Self::Repeat(at, length, times) => {
                let at = place(at);
                let again = text[at..(at + length).min(text.len())].repeat(*times);
                text.splice(at..at, again);
            }
        }
    }
}

/// A value that may stand anywhere in an object: numbers and times at their ends, texts that are too long or are no texts for people, other
/// types than the one that is expected.
pub fn value() -> impl Strategy<Value = Value> {
    let extreme = select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(100),
        json!(255),
        json!(i64::from(i32::MAX)),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("Promoting"),
        json!("Baking"),
        json!("RollingBack"),
        json!("Progressing"),
        json!("9999-12-30T22:00:00Z"),
        json!("-009999-01-02T01:59:59Z"),
        json!("2026-11-21T14:18:25Z"),
        json!("99999999h"),
        json!("0s"),
        json!("x\u{1b}]52;c;eA==\u{7}\r\nphase Healthy\u{202e}"),
        json!("100%"),
        json!("-100%"),
        json!([]),
        json!({}),
    ]);
    prop_oneof![
        4 => extreme,
        1 => any::<String>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => (0usize..20_000).prop_map(|length| json!("a".repeat(length))),
        1 => (0usize..90).prop_map(|depth| (0..depth).fold(json!({}), |inner, _| json!({"a": [inner]}))),
    ]
}

/// A change of one place in an object: another value, none, or what stands there several times.
#[derive(Clone, Debug)]
pub enum Graft {
    Set(Index, Value),
    Remove(Index),
    Copy(Index, Index),
    Repeat(Index, usize),
}

/// A change of one place in an object.
pub fn graft() -> impl Strategy<Value = Graft> {
    prop_oneof![
        4 => (any::<Index>(), value()).prop_map(|(at, value)| Graft::Set(at, value)),
        1 => any::<Index>().prop_map(Graft::Remove),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Graft::Copy(from, to)),
        1 => (any::<Index>(), 2usize..40).prop_map(|(at, times)| Graft::Repeat(at, times)),
    ]
}

impl Graft {
    /// Makes the change.
    pub fn make(&self, object: &mut Value) {
        let places = places(object);
        let mut at = |index: &Index, change: &mut dyn FnMut(&mut Value)| {
            if let Some(place) = object.pointer_mut(&places[index.index(places.len())]) {
                change(place);
            }
        };
        match self {
            Self::Set(index, value) => at(index, &mut |place| place.clone_from(value)),
            Self::Remove(index) => at(index, &mut |place| *place = Value::Null),
            Self::Copy(from, to) => {
                let mut copied = Value::Null;
                at(from, &mut |place| copied.clone_from(place));
                at(to, &mut |place| place.clone_from(&copied));
            }
            Self::Repeat(index, times) => at(index, &mut |place| {
                if let Value::Array(items) = place {
                    *items = items.iter().cycle().take(items.len() * times).cloned().collect();
                }
            }),
        }
    }
}

/// Pointers to everything in a value.
fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, field)| walk(field, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found));
            }
            Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| walk(item, &format!("{at}/{i}"), found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}
