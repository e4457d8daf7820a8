//! The tables without a cluster: kube's evaluation of CEL says what the API server says, and the core what the controller says.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::cel::{ValidationErrors, Validator};
use serde_json::{Value, json};
use stepgate::{
    api::PolicySpec,
    cli::{
        command::{
            crds,
            lint::{self, Schemas},
        },
        files::manifest::{self, Manifest},
    },
    core::{decide::decide, decision::action::Action, traffic::pods::needs_service},
};

use crate::{
    manifests::{Line, manifests},
    states::{Known, Objects, canary_name, states},
};

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
    for object in manifests().accepted.iter().map(crate::manifests::Object::manifest) {
        validate(&schemas, &object, None).unwrap_or_else(|errors| panic!("{object}: {errors}"));
    }
}

#[test]
fn a_rule_refuses_in_the_same_words() {
    let (schemas, messages) = (schemas(), all_messages());
    for row in manifests().refused {
        let object = row.manifest();
        for line in &row.says {
            let rule = messages.iter().find(|message| line.text().ends_with(message.as_str()));
            assert_eq!(rule.is_some(), matches!(line, Line::Rule(_)), "who says it? {}", line.text());
            let Some(rule) = rule else { continue };
            let before = row.manifest_before();
            let errors = validate(&schemas, &object, before.as_ref()).expect_err(&format!("taken: {object}")).to_string();
            assert!(errors.contains(rule.as_str()), "{object}: {errors}");
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
    for object in manifests().accepted {
        let object = object.manifest();
        assert_eq!(linted(&schemas, &object), Vec::<String>::new(), "{object}");
    }
}

#[test]
fn lint_says_what_the_api_server_says() {
    let schemas = Schemas::new().unwrap();
    // A change, and the rights of an author, are nothing that a file could show.
    for row in manifests().refused.iter().filter(|row| row.before.is_none() && row.author.is_none()) {
        let object = row.manifest();
        let said: BTreeSet<String> = linted(&schemas, &object).into_iter().collect();
        for line in &row.says {
            // The API server stops at unknown fields, lint goes on.
            let text = line.text().rsplit("strict decoding error: ").next().unwrap();
            assert!(said.contains(text), "{object}: {text} is not in {said:#?}");
        }
        let stops = row.says.iter().any(|line| matches!(line, Line::Strict(_)));
        assert!(stops || said.len() == row.says.len(), "{object}: {said:#?}");
    }
}

#[test]
fn every_rule_has_a_row_that_it_refuses() {
    let rows = manifests().refused;
    let sentences: Vec<&str> = rows.iter().flat_map(|row| &row.says).map(Line::text).collect();
    for message in all_messages() {
        assert!(sentences.iter().any(|sentence| sentence.ends_with(&message)), "no row for {message:?}");
    }
}

#[test]
fn no_rule_ends_in_an_error_of_its_own() {
    for line in manifests().refused.iter().flat_map(|row| &row.says) {
        assert!(!line.text().contains("evaluating rule"), "{}", line.text());
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

/// What is refused of a policy in a Rollout without Services at apply time is what the controller refuses of one that it refers to.
#[test]
fn rules_and_core_agree_on_what_needs_a_service() {
    let schemas = schemas();
    let gate = |when: Value| json!([{"name": "healthz", "http": {"path": "/", "port": 80}, "when": when}]);
    let fields: [(&str, Vec<Value>); 6] = [
        (
            "steps",
            vec![
                json!([{"weight": 50}, {"weight": 100}]),
                json!([{"weight": 50}, {"weight": 51}, {"weight": 100}]),
                json!([{"weight": 100}]),
            ],
        ),
        ("affinity", vec![Value::Null, json!({"clientIP": {}})]),
        ("split", vec![Value::Null, json!("Resilient"), json!("Exact")]),
        ("canaryReplicas", vec![Value::Null, json!("ByWeight"), json!("Full")]),
        ("onFailure", vec![Value::Null, json!("Rollback"), json!("Pause")]),
        (
            "gates",
            vec![
                Value::Null,
                gate(json!(["BeforeTraffic"])),
                gate(json!(["BeforeTraffic", "DuringSteps"])),
                gate(json!(["BeforePromotion"])),
                gate(json!(["BeforeTraffic", "BeforePromotion"])),
                gate(json!(["BeforeTraffic", "DuringSteps", "BeforePromotion"])),
            ],
        ),
    ];
    let policies = fields.into_iter().flat_map(|(name, values)| {
        values.into_iter().map(move |value| {
            let mut policy = json!({"steps": [{"weight": 50}, {"weight": 100}]});
            policy[name] = value;
            without_nulls(&policy)
        })
    });
    for policy in policies {
        let rollout = |services: Value| {
            json!({"apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "hello"},
                "spec": {"workload": {"deployment": "hello"}, "services": services, "policy": policy}})
        };
        assert!(validate(&schemas, &rollout(json!(["hello"])), None).is_ok(), "{policy}");
        let spec: PolicySpec = serde_json::from_value(policy.clone()).unwrap();
        let (said, found) = (validate(&schemas, &rollout(json!([])), None), needs_service(&spec));
        assert_eq!(said.is_err(), found.is_some(), "{policy}: {said:?}, {found:?}");
    }
}

#[test]
fn presets_break_no_rule() {
    let schemas = schemas();
    for (_, text) in stepgate::cli::command::presets::PRESETS {
        validate(&schemas, &serde_saphyr::from_str(text).unwrap(), None).unwrap();
    }
}

#[test]
fn what_cannot_be_released_is_told_with_its_sentence_and_nothing_is_done() {
    let now = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut wrong = Vec::new();
    for row in states().refused {
        let known = Known::offline(&row.objects);
        let decision = decide(&known.snapshot(), now);
        let accepted = decision.status.conditions.iter().find(|condition| condition.type_ == "Accepted").unwrap();
        let said = (accepted.status.as_str(), accepted.reason.as_str(), accepted.message.as_str());
        let says = row.says(&known.canary());
        if said != ("False", &row.reason, &says) {
            wrong.push(format!("{}\n  said:     {said:?}\n  expected: {} {says}", row.state, row.reason));
        }
        assert_eq!(decision.actions, Vec::<Action>::new(), "{}", row.state);
        assert_eq!(decision.wake_at, None, "{}: nothing is to be looked at again unless something changes", row.state);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The objects of a state as they would stand in files, the Rollout last.
fn files(objects: &Objects) -> Vec<Manifest> {
    let canary = canary_name(objects.deployment.as_ref());
    let others = objects.others(&canary);
    let all = objects.deployment.iter().chain(&objects.service).chain(&others).chain([&objects.rollout]);
    let text: Vec<String> = all.map(|object| without_nulls(object).to_string()).collect();
    manifest::parse("state.yaml", &text.join("\n---\n")).unwrap()
}

fn told_of(objects: &Objects) -> Vec<String> {
    let manifests = files(objects);
    lint::told(manifests.last().unwrap(), &manifests).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn lint_says_what_the_controller_says_of_what_is_in_the_files() {
    for row in states().refused {
        let is_absent = ["DeploymentNotFound", "PolicyNotFound", "ServiceNotFound"].contains(&row.reason.as_str());
        let says = row.says(&canary_name(row.objects.deployment.as_ref()));
        let expected = if is_absent { Vec::new() } else { vec![says] };
        assert_eq!(told_of(&row.objects), expected, "{}", row.state);
    }
}

#[test]
fn lint_has_nothing_to_say_to_what_is_only_unusual() {
    for row in states().accepted {
        assert_eq!(told_of(&row.objects), Vec::<String>::new(), "{}", row.state);
    }
}

#[test]
fn what_is_only_unusual_is_accepted() {
    let now = "2026-11-21T10:00:00Z".parse().unwrap();
    for row in states().accepted {
        let decision = decide(&Known::offline(&row.objects).snapshot(), now);
        let accepted = decision.status.conditions.iter().find(|condition| condition.type_ == "Accepted").unwrap();
        assert_eq!(accepted.status, "True", "{}: {}", row.state, accepted.message);
    }
}
