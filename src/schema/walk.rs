//! Holds a value against its schema.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::Cause;

/// Tells every pattern of a schema.
pub(super) fn patterns(schema: &Value, tell: &mut impl FnMut(&str)) {
    if let Some(pattern) = schema["pattern"].as_str() {
        tell(pattern);
    }
    let properties = schema["properties"].as_object().into_iter().flat_map(Map::values);
    for inner in properties.chain([&schema["items"], &schema["additionalProperties"]]).filter(|inner| inner.is_object()) {
        patterns(inner, tell);
    }
}

/// Everything in which an object does not fit its schema.
pub(super) fn check(schema: &Value, patterns: &BTreeMap<String, Option<Regex>>, object: &Value) -> Vec<Cause> {
    let mut check = Check { patterns, causes: Vec::new() };
    check.value(schema, object, "");
    check.causes
}

struct Check<'a> {
    patterns: &'a BTreeMap<String, Option<Regex>>,
    causes: Vec<Cause>,
}

impl Check<'_> {
    fn value(&mut self, schema: &Value, found: &Value, path: &str) {
        if found.is_null() && schema["nullable"] == true {
            return;
        }
        let int_or_string = schema["x-kubernetes-int-or-string"] == true;
        let wanted = if int_or_string { "integer,string" } else { schema["type"].as_str().unwrap_or_default() };
        if !wanted.is_empty() && !wanted.split(',').any(|wanted| is_of(wanted, found)) {
            return self.causes.push(Cause::of_type(path, found, wanted));
        }
        if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(found)) {
            let allowed: Vec<String> = allowed.iter().filter(|value| !value.is_null()).map(Value::to_string).collect();
            self.say("FieldValueNotSupported", path, format!("Unsupported value: {found}: supported values: {}", allowed.join(", ")));
        }
        match found {
            Value::Object(fields) => self.object(schema, fields, path),
            Value::Array(items) => self.list(schema, items, path),
            Value::String(text) => self.string(schema, text, found, path),
            Value::Number(number) => self.range(schema, number.as_f64().unwrap_or_default(), found, path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn say(&mut self, reason: &'static str, path: &str, message: String) {
        self.causes.push(Cause { reason, field: path.to_owned(), message });
    }

    fn invalid(&mut self, path: &str, found: &Value, why: &str) {
        self.causes.push(Cause::invalid(path, found, &format!("{path} in body {why}")));
    }

    fn object(&mut self, schema: &Value, fields: &Map<String, Value>, path: &str) {
        let inside = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for missing in required.filter(|field| !fields.contains_key(*field)) {
            self.causes.push(Cause::required(inside(missing), ""));
        }
        for (field, found) in fields {
            if let Some(known) = schema["properties"].get(field).or_else(|| schema.get("additionalProperties")) {
                self.value(known, found, &inside(field));
            }
        }
    }

    fn list(&mut self, schema: &Value, items: &[Value], path: &str) {
        let count = items.len();
        if let Some(least) = limit(schema, "minItems").filter(|least| count < *least) {
            self.invalid(path, &json!(count), &format!("should have at least {least} items"));
        }
        if let Some(most) = limit(schema, "maxItems").filter(|most| count > *most) {
            self.say("FieldValueTooMany", path, format!("Too many: {count}: must have at most {most} items"));
        }
        for (at, item) in items.iter().enumerate() {
            self.value(&schema["items"], item, &format!("{path}[{at}]"));
        }
    }

    /// Of a text, only the first thing that is wrong is said.
    fn string(&mut self, schema: &Value, text: &str, found: &Value, path: &str) {
        let length = text.chars().count();
        let matches = |pattern: &str| self.patterns.get(pattern).and_then(Option::as_ref).is_some_and(|regex| regex.is_match(text));
        if let Some(most) = limit(schema, "maxLength").filter(|most| length > *most) {
            self.say("FieldValueTooLong", path, format!("Too long: may not be more than {most} bytes"));
        } else if let Some(least) = limit(schema, "minLength").filter(|least| length < *least) {
            self.invalid(path, found, &format!("should be at least {least} chars long"));
        } else if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| !matches(pattern)) {
            self.invalid(path, found, &format!("should match '{pattern}'"));
        }
    }

    fn range(&mut self, schema: &Value, number: f64, found: &Value, path: &str) {
        let bound = |key: &str| schema[key].as_f64();
        if let Some(least) = bound("minimum").filter(|least| number < *least) {
            self.invalid(path, found, &format!("should be greater than or equal to {least}"));
        }
        if let Some(most) = bound("maximum").filter(|most| number > *most) {
            self.invalid(path, found, &format!("should be less than or equal to {most}"));
        }
    }
}

fn is_of(wanted: &str, found: &Value) -> bool {
    match wanted {
        "object" => found.is_object(),
        "array" => found.is_array(),
        "string" => found.is_string(),
        "boolean" => found.is_boolean(),
        "integer" => found.is_i64() || found.is_u64(),
        "number" => found.is_number(),
        _ => true,
    }
}

fn limit(schema: &Value, key: &str) -> Option<usize> {
    schema[key].as_u64().and_then(|limit| usize::try_from(limit).ok())
}
