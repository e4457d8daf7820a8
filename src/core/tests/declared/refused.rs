//! What is not a pair, with the sentence that says so.

use super::*;
use crate::core::facts::port::TargetPort;

/// What a Rollout of blue and green is refused for, once something is wrong with it.
fn refused(wrong: impl Fn(&mut Model)) -> (String, String) {
    let mut model = Model::declared(&[2, 2], quarters());
    wrong(&mut model);
    model.control(Crash::Never);
    assert_eq!((model.phase(), pins(&model)), (Phase::Pending, 0));
    accepted(&model)
}

#[test]
fn a_bad_pair_is_refused_with_a_sentence_that_names_what_is_wrong() {
    let (reason, said) = refused(|model| model.deployments.retain(|deployment| deployment.name != BLUE));
    assert!(reason == "DeploymentNotFound" && said.contains("Deployment hello-blue (workload.live) does not exist"), "{said}");

    let (reason, said) = refused(|model| edit_template(model, GREEN, |template| template["metadata"]["labels"] = json!({"app": "hello"})));
    assert!(reason == "NoVersionLabel" && said.contains("hello-green (workload.versions) has no label version"), "{said}");

    let (reason, said) = refused(|model| edit_template(model, GREEN, |template| template["metadata"]["labels"]["version"] = json!("blue")));
    assert!(reason == "SameVersion" && said.contains("hello-blue and hello-green (workload.versions) both have version=blue"), "{said}");

    let (reason, said) = refused(|model| model.deployments[1].selector = model.deployments[0].selector.clone());
    assert!(
        reason == "SameSelector" && said.contains("hello-blue and hello-green (workload.versions) have the same spec.selector"),
        "{said}"
    );

    let (reason, said) = refused(|model| {
        model.set_live(GREEN);
        model.services[0].selector.insert("version".into(), "blue".into());
        model.services[0].ports[0].target = TargetPort::Number(8080);
        edit_template(model, GREEN, |template| {
            template["spec"]["containers"][0]["ports"] = json!([{"name": "http", "containerPort": 9090}]);
        });
    });
    assert!(
        reason == "PortsDiffer" && said.contains("hello-blue have port 8080, but those of Deployment hello-green have port 9090"),
        "{said}"
    );

    let (reason, said) = refused(|model| {
        model.set_live(GREEN);
        model.services[0].selector.insert("version".into(), "blue".into());
        edit_template(model, GREEN, |template| {
            template["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": 8080}]);
        });
    });
    assert!(
        reason == "PortMissing" && said.contains("named http (TCP), but the pods of Deployment hello-green have no port of that name"),
        "{said}"
    );

    let (reason, said) = refused(|model| {
        let mut other = model.services[0].clone();
        other.name = "other".into();
        other.selector.insert("version".into(), "green".into());
        model.services[0].selector.insert("version".into(), "blue".into());
        model.services.push(other);
        model.edit_spec(|spec| spec.services.push("other".into()));
    });
    assert!(reason == "ServicesDisagree" && said.contains("select Deployments hello-blue, hello-green by their label version"), "{said}");

    let (reason, said) = refused(|model| {
        let mut stranger = model.pods[0].clone();
        (stranger.uid, stranger.owner) = ("stranger".into(), None);
        stranger.ready = true;
        stranger.labels.insert("version".into(), "grey".into());
        model.pods.push(stranger);
        model.services[0].selector.insert("version".into(), "grey".into());
    });
    assert!(reason == "UnknownVersion" && said.contains("selects version=grey and has clients there"), "{said}");

    let (reason, said) = refused(|model| model.services[0].selector = [("version".to_owned(), "blue".to_owned())].into());
    assert!(reason == "ServiceUnsuitable" && said.contains("selects by version alone, a key that Stepgate changes"), "{said}");
}

#[test]
fn a_service_of_one_version_may_stay_unlisted_and_one_of_both_may_not() {
    let with = |selector: Value| {
        let mut model = healthy(&[2, 2], quarters());
        let mut other = model.services[0].clone();
        other.name = "preview".into();
        other.selector = serde_json::from_value(selector).expect("labels");
        model.services.push(other);
        model.set_live(GREEN);
        model.control(Crash::Never);
        accepted(&model).0
    };
    assert_eq!(with(json!({"app": "hello", "version": "green"})), "Accepted");
    assert_eq!(with(json!({"app": "hello"})), "UnlistedService");
}
