//! The rules without a cluster: kube's evaluation of CEL says what the API server says.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::cel::{ValidationErrors, Validator};
use serde_json::Value;
use stepgate::cli::{crds, lint::Schemas, manifest};

use crate::table;

fn schemas() -> BTreeMap<String, Value> {
    let schema = |definition: Value| {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        (kind, definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
    };
    crds::definitions().into_iter().map(|(_, definition)| schema(serde_json::to_value(definition).unwrap())).collect()
}

fn validate(schemas: &BTreeMap<String, Value>, object: &Value, old: Option<&Value>) -> Result<(), ValidationErrors> {
    Validator::new().validate(&schemas[object["kind"].as_str().unwrap()], &without_nulls(object), old)
}

/// To the API server, a field that is null is absent; to kube's evaluation it is there. A typed object has none.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().filter(|(_, field)| !field.is_null()).map(|(name, field)| (name.clone(), without_nulls(field))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// The messages of all rules in a schema, but those of the status, whose policy is a copy.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                found.insert(rule["message"].as_str().expect("a rule without a message").to_owned());
            }
            fields.values().for_each(|field| messages(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
        _ => {}
    }
}

fn all_messages() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for schema in schemas().values() {
        messages(&schema["properties"]["spec"], &mut found);
    }
    found
}

#[test]
fn accepted_objects_break_no_rule() {
    let schemas = schemas();
    for object in table::accepted() {
        validate(&schemas, &object, None).unwrap_or_else(|errors| panic!("{object}: {errors}"));
    }
}

#[test]
fn an_object_that_a_rule_refuses_is_refused_in_the_same_words() {
    let (schemas, messages) = (schemas(), all_messages());
    for (object, sentence) in table::refused() {
        if messages.iter().any(|message| message.contains(sentence)) {
            let errors = validate(&schemas, &object, None).expect_err(&format!("taken: {object}")).to_string();
            assert!(errors.contains(sentence), "{object}: {errors}");
        }
    }
}

/// What `stepgate lint` says to an object.
fn linted(schemas: &Schemas, object: &Value) -> Vec<String> {
    let manifests = manifest::parse("row.yaml", &object.to_string()).unwrap();
    manifests.iter().flat_map(|manifest| schemas.check(&manifest.object)).map(|problem| problem.to_string()).collect()
}

#[test]
fn lint_has_nothing_to_say_to_accepted_objects() {
    let schemas = Schemas::new().unwrap();
    for object in table::accepted() {
        assert_eq!(linted(&schemas, &object), Vec::<String>::new(), "{object}");
    }
}

#[test]
fn lint_refuses_what_the_api_server_refuses_in_the_same_words() {
    let schemas = Schemas::new().unwrap();
    for (object, sentence) in table::refused() {
        let said = linted(&schemas, &object);
        assert!(said.iter().any(|said| said.contains(sentence)), "{object}: {sentence:?} is not in {said:?}");
    }
}

#[test]
fn every_rule_has_a_row_that_it_refuses() {
    let changes = table::UPDATES.iter().filter_map(|(_, _, sentence)| *sentence);
    let sentences: Vec<_> = table::refused().into_iter().map(|(_, sentence)| sentence).chain(changes).collect();
    for message in all_messages() {
        assert!(sentences.iter().any(|sentence| message.contains(sentence)), "no row for {message:?}");
    }
}

#[test]
fn a_change_that_a_rule_refuses_is_refused_in_the_same_words() {
    let schemas = schemas();
    for (before, after, sentence) in table::UPDATES {
        let (before, after) = (table::object("Rollout", before), table::object("Rollout", after));
        match (validate(&schemas, &after, Some(&before)), sentence) {
            (Ok(()), None) => {}
            (Err(errors), Some(sentence)) => assert!(errors.to_string().contains(sentence), "{after}: {errors}"),
            (outcome, sentence) => panic!("{after}: {outcome:?}, but expected {sentence:?}"),
        }
    }
}

#[test]
fn a_policy_is_the_same_wherever_it_stands() {
    let schemas = schemas();
    let spec = |kind: &str| {
        let mut spec = schemas[kind]["properties"]["spec"].clone();
        spec.as_object_mut().unwrap().remove("description");
        spec
    };
    let mut inline = spec("Rollout")["properties"]["policy"].clone();
    for key in ["description", "nullable"] {
        inline.as_object_mut().unwrap().remove(key);
    }
    assert_eq!(spec("RolloutPolicy"), spec("ClusterRolloutPolicy"));
    assert_eq!(spec("RolloutPolicy"), inline);
}

#[test]
fn presets_break_no_rule() {
    let schemas = schemas();
    for (_, text) in stepgate::cli::presets::PRESETS {
        validate(&schemas, &serde_saphyr::from_str(text).unwrap(), None).unwrap();
    }
}
