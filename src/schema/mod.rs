//! What the API server does with an object of a kind that a definition adds: it drops what the schema does not know, fills in defaults, and
//! refuses what schema and rules do not allow. Pure, and in the API server's words, so that `stepgate lint` and the embedded cluster say
//! what a real cluster says.
//!
//! Of structural schemas it knows what definitions of ours use: types, limits, patterns, enumerations, defaults, `nullable`, int-or-string,
//! and rules in CEL. `format`, `allOf` and the like are not looked at. Unlike a real server it names causes in one order, that of the fields.

use std::collections::BTreeMap;

use kube::core::cel::{CompiledSchema, Validator, apply_defaults, compile_schema};
use regex::Regex;
use serde_json::{Value, json};

mod fields;
mod walk;

/// One cause of a refusal: the field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, ...
    pub reason: &'static str,
    /// Path of the field, such as `spec.steps[0].weight`.
    pub field: String,
    /// What is wrong, as in `Invalid value: ...`.
    pub message: String,
}

/// The schema of a kind, with its rules compiled.
#[derive(Debug)]
pub struct Schema {
    tree: Value,
    rules: CompiledSchema,
    patterns: BTreeMap<String, Option<Regex>>,
    validator: Validator,
}

impl Schema {
    /// Reads an `openAPIV3Schema`.
    pub fn new(mut tree: Value) -> Self {
        fields::add_object_fields(&mut tree);
        let mut patterns = BTreeMap::new();
        walk::patterns(&tree, &mut |pattern| {
            // A pattern that cannot be read matches nothing, as a rule that cannot be read refuses everything.
            patterns.insert(pattern.to_owned(), Regex::new(pattern).ok());
        });
        Self { rules: compile_schema(&tree), patterns, validator: Validator::new(), tree }
    }

    /// The `openAPIV3Schema`, with the fields that every object has.
    pub fn tree(&self) -> &Value {
        &self.tree
    }

    /// The paths of fields that the schema does not know, in their order.
    pub fn unknown(&self, object: &Value) -> Vec<String> {
        let mut found = Vec::new();
        fields::unknown(&self.tree, object, &mut |path| found.push(path));
        found
    }

    /// Drops unknown fields, and those that are `null` and may not be: to the API server they are absent.
    pub fn prune(&self, object: &mut Value) {
        fields::prune(&self.tree, object);
    }

    /// The same, and fills in defaults.
    pub fn complete(&self, object: &mut Value) {
        self.prune(object);
        *object = apply_defaults(&self.tree, object);
    }

    /// Why an object may not be stored, `old` being what is stored; nothing if it may. It is expected to be complete.
    ///
    /// As in the API server, rules are asked only where no error of the schema keeps them from being understood, and what an update leaves
    /// as it was is not held against it.
    pub fn refusals(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = walk::check(&self.tree, &self.patterns, object);
        if causes.iter().any(Cause::blocks_rules) {
            let message = "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing \
                           errors to complete validation";
            causes.push(Cause { reason: "FieldValueInvalid", field: "<nil>".into(), message: message.into() });
        } else {
            causes.extend(self.broken_rules(object, old));
        }
        causes
    }

    fn broken_rules(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let (changed, before) = match old.filter(|_| self.rules.validations.is_empty()) {
            Some(old) => (without_equals(object, old), Some(without_equals(old, object))),
            None => (object.clone(), old.cloned()),
        };
        let (changed, before) = (fields::without_nulls(&changed), before.as_ref().map(fields::without_nulls));
        let errors = self.validator.validate_compiled(&self.rules, &changed, before.as_ref()).err();
        let cause = |error: kube::core::cel::ValidationError| {
            let found = fields::at(object, &error.field_path).filter(|found| !found.is_object() && !found.is_array());
            let value = found.map(|found| format!("{found}: ")).unwrap_or_default();
            let message = format!("Invalid value: {value}{}", error.message);
            Cause { reason: "FieldValueInvalid", field: error.field_path, message }
        };
        let mut causes: Vec<Cause> = errors.map(kube::core::cel::ValidationErrors::into_vec).into_iter().flatten().map(cause).collect();
        // The rules of a map of properties come in any order.
        causes.sort_by(|one, other| one.field.cmp(&other.field));
        causes
    }
}

/// The object without those of its fields that are the same in the other one.
fn without_equals(object: &Value, other: &Value) -> Value {
    let Value::Object(fields) = object else { return object.clone() };
    fields.iter().filter(|(name, value)| other.get(*name) != Some(*value)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Cause {
    /// A value that may not be.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {value}: {why}") }
    }

    /// A value that is missing.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() { "Required value".into() } else { format!("Required value: {why}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    /// A change that may not be made.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {why}") }
    }

    /// A value of another type than the one that is wanted.
    fn of_type(field: &str, found: &Value, wanted: &str) -> Self {
        let type_ = match found {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let why = format!("{field} in body must be of type {wanted}: {}", json!(type_));
        Self { reason: "FieldValueTypeInvalid", ..Self::invalid(field, &type_.into(), &why) }
    }

    /// Whether it is more than the remark that rules were not asked.
    pub fn is_about_a_field(&self) -> bool {
        self.field != "<nil>"
    }

    /// Whether rules could not be understood where this is so.
    fn blocks_rules(&self) -> bool {
        matches!(
            self.reason,
            "FieldValueTypeInvalid" | "FieldValueRequired" | "FieldValueNotSupported" | "FieldValueTooLong" | "FieldValueTooMany"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::new(json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1},
            "mode": {"type": "string", "default": "Slow", "enum": ["Slow", "Fast"]},
            "note": {"type": "string", "nullable": true, "x-kubernetes-validations": [{"rule": "self != 'no'", "message": "not this"}]},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }}}}))
    }

    fn said(object: &Value, old: Option<&Value>) -> Vec<String> {
        schema().refusals(object, old).into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn unknown_fields_go_and_defaults_come_also_in_the_place_of_null() {
        let mut object = json!({"kind": "X", "metadata": {"name": "a", "lables": {}}, "more": 1, "spec": {
            "size": 1, "mode": null, "note": null, "typo": {"a": 1}, "free": {"a": 1}}});
        assert_eq!(schema().unknown(&object), ["metadata.lables", "more", "spec.typo"]);
        schema().complete(&mut object);
        let kept = json!({"kind": "X", "metadata": {"name": "a"}, "spec": {"size": 1, "mode": "Slow", "note": null, "free": {"a": 1}}});
        assert_eq!(object, kept);
    }

    #[test]
    fn rules_are_not_asked_about_what_they_would_not_understand() {
        let blocked = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the \
                       existing errors to complete validation";
        assert_eq!(said(&json!({"spec": {"note": "no"}}), None), ["spec.size: Required value", blocked]);
        assert_eq!(
            said(&json!({"spec": {"size": 0, "note": "no"}}), None),
            [
                "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
                r#"spec.note: Invalid value: "no": not this"#
            ]
        );
    }

    #[test]
    fn a_rule_is_not_held_against_an_update_that_leaves_its_field_alone() {
        let old = json!({"metadata": {}, "spec": {"size": 1, "note": "no"}});
        let labelled = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"size": 1, "note": "no"}});
        assert_eq!(said(&labelled, Some(&old)), Vec::<String>::new());
        assert_eq!(said(&labelled, None).len(), 1);
    }
}
