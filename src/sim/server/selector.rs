//! Label and field selectors.

use serde_json::Value;

use super::problem::Problem;
use crate::sim::json::{self, Fields};

/// A conjunction of requirements on labels. The empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<String>),
    /// Also true where the label is missing.
    NotIn(Vec<String>),
    Exists,
    Missing,
}

impl Labels {
    /// Reads the form of the query parameter: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    /// `BadRequest` for what has another form.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        split_outside_parentheses(text)
            .into_iter()
            .filter(|part| !part.trim().is_empty())
            .map(requirement)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Exactly these labels.
    pub fn of_map(labels: &Fields) -> Self {
        let one = |value: &Value| Test::In(vec![value.as_str().unwrap_or_default().to_owned()]);
        Self(labels.iter().map(|(key, value)| Requirement { key: key.clone(), test: one(value) }).collect())
    }

    /// Reads a `metav1.LabelSelector`.
    pub fn of_selector(selector: &Value) -> Self {
        let mut all = json::fields(selector, "/matchLabels").map(Self::of_map).unwrap_or_default();
        for expression in json::items(selector, "/matchExpressions") {
            let values = || json::items(expression, "/values").iter().filter_map(Value::as_str).map(Into::into).collect();
            let test = match json::text(expression, "/operator") {
                "In" => Test::In(values()),
                "NotIn" => Test::NotIn(values()),
                "Exists" => Test::Exists,
                _ => Test::Missing,
            };
            all.0.push(Requirement { key: json::text(expression, "/key").into(), test });
        }
        all
    }

    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these labels fulfil every requirement.
    pub fn match_labels(&self, labels: Option<&Fields>) -> bool {
        self.0.iter().all(|requirement| {
            let found = labels.and_then(|labels| labels.get(&requirement.key)).and_then(Value::as_str);
            match &requirement.test {
                Test::In(values) => found.is_some_and(|found| values.iter().any(|value| value == found)),
                Test::NotIn(values) => found.is_none_or(|found| values.iter().all(|value| value != found)),
                Test::Exists => found.is_some(),
                Test::Missing => found.is_none(),
            }
        })
    }

    /// Whether the object's labels fulfil every requirement.
    pub fn matches(&self, object: &Value) -> bool {
        self.match_labels(json::fields(object, "/metadata/labels"))
    }
}

impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|Requirement { key, test }| match test {
                Test::In(values) if values.len() == 1 => format!("{key}={}", values[0]),
                Test::In(values) => format!("{key} in ({})", values.join(",")),
                Test::NotIn(values) => format!("{key} notin ({})", values.join(",")),
                Test::Exists => key.clone(),
                Test::Missing => format!("!{key}"),
            })
            .collect();
        f.write_str(&parts.join(","))
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Result<Requirement, Problem> {
    let part = part.trim();
    let made = |key: &str, test| Ok(Requirement { key: key.trim().into(), test });
    if let Some((head, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        return match head.split_whitespace().collect::<Vec<_>>()[..] {
            [key, "in"] => made(key, Test::In(values)),
            [key, "notin"] => made(key, Test::NotIn(values)),
            _ => Err(Problem::bad_request(format!("unable to parse requirement: {part:?}"))),
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return made(key, Test::NotIn(vec![value.trim().into()]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return made(key, Test::In(vec![value.trim().into()]));
    }
    match part.strip_prefix('!') {
        Some(key) => made(key, Test::Missing),
        None if part.contains(char::is_whitespace) => Err(Problem::bad_request(format!("unable to parse requirement: {part:?}"))),
        None => made(part, Test::Exists),
    }
}

/// A conjunction of `field=value` and `field!=value`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldTests(Vec<(String, bool, String)>);

/// Fields that may be selected by, beside name and namespace.
const SELECTABLE: &[(&str, &[&str])] = &[
    ("pods", &["spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"]),
    ("replicasets", &["status.replicas"]),
    ("namespaces", &["status.phase"]),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingController",
            "source",
            "type",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
        ],
    ),
];

impl FieldTests {
    /// Reads the query parameter for objects of this resource.
    ///
    /// # Errors
    /// `BadRequest` for fields that a real server does not select by.
    pub fn parse(text: &str, plural: &str) -> Result<Self, Problem> {
        let mut tests = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (field, equal, value) = if let Some((field, value)) = part.split_once("!=") {
                (field, false, value)
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field, true, value)
            } else {
                return Err(Problem::bad_request(format!("invalid field selector {text:?}")));
            };
            let own = SELECTABLE.iter().find(|(resource, _)| *resource == plural).map_or(&[][..], |(_, fields)| fields);
            if field != "metadata.name" && field != "metadata.namespace" && !own.contains(&field) {
                return Err(Problem::bad_request(format!("field label not supported: {field}")));
            }
            tests.push((format!("/{}", field.replace('.', "/")), equal, value.to_owned()));
        }
        Ok(Self(tests))
    }

    /// Whether the object, in the view of the request, fulfils every test.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(path, equal, value)| (json::text(object, path) == value) == *equal)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_operator_of_a_label_selector_is_understood() {
        let object = json!({"metadata": {"labels": {"app": "hello", "track": "canary"}}});
        for (selector, matches) in [
            ("", true),
            ("app=hello", true),
            ("app==hello,track=canary", true),
            ("app!=hello", false),
            ("tier!=web", true),
            ("app", true),
            ("tier", false),
            ("!tier", true),
            ("!app", false),
            ("track in (stable, canary)", true),
            ("track notin (stable,canary)", false),
            ("tier notin (web),app in (hello)", true),
        ] {
            assert_eq!(Labels::parse(selector).unwrap().matches(&object), matches, "{selector}");
        }
        assert!(Labels::parse("a b").is_err());
    }

    #[test]
    fn a_field_that_cannot_be_selected_by_is_refused() {
        assert!(FieldTests::parse("spec.replicas=1", "deployments").is_err());
        assert!(FieldTests::parse("metadata.name=a,status.phase!=Failed", "pods").unwrap().matches(&json!({"metadata": {"name": "a"}})));
    }
}
