//! Random histories: whatever happens in whatever order, no write does harm ([`Model::control`] asserts that), and in the end, when
//! everybody is left alone, the Rollout comes to rest with nothing of ours left.

use proptest::prelude::*;
use serde_json::json;

use crate::api::{
    policy::{Idle, PolicySpec},
    rollout::{Request, RequestAction},
    status::Phase,
};

use crate::core::{
    facts::service::SessionAffinity,
    tests::model::{Crash, Model, VERSIONS, policy},
    why::refusal::pods::LARGEST,
};

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Control,
    CrashAfter(usize),
    Controllers,
    Kubelet,
    Endpoints,
    Tick(i64),
    Image(u8),
    Scale(i32),
    Unready(usize),
    Recover,
    DeletePod(usize),
    Restart(usize),
    Pause(bool),
    Request(RequestAction),
    /// Somebody goes back to the version of this number, from the one that is under release or live.
    Undo(u8),
    DropMemory,
    /// The Service's owner gives it another session affinity, or Git the one that it has there.
    Affinity(SessionAffinity),
    /// Of a declared pair: the version that is to be live.
    Live(usize),
    ScaleVersion(usize, i32),
    ImageOf(usize, u8),
    /// The Rollout names a preview, or none any more; somebody applies what the preview's owner wrote; its writes fail, or go through.
    Preview(bool),
    PreviewByGit,
    PreviewFails(bool),
}

/// A Service that may be the preview.
const NEXT: &str = "hello-next";

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        24 => Just(Control),
        3 => (0usize..4).prop_map(CrashAfter),
        12 => Just(Controllers),
        10 => Just(Kubelet),
        10 => Just(Endpoints),
        8 => (1i64..3_000).prop_map(Tick),
        2 => (1u8..4).prop_map(Image),
        1 => (0i32..7).prop_map(Scale),
        1 => (0usize..12).prop_map(Unready),
        1 => Just(Recover),
        1 => (0usize..12).prop_map(DeletePod),
        1 => (0usize..12).prop_map(Restart),
        1 => any::<bool>().prop_map(Pause),
        2 => prop_oneof![Just(RequestAction::Promote), Just(RequestAction::PromoteFull), Just(RequestAction::Abort), Just(RequestAction::Retry), Just(RequestAction::Approve)].prop_map(Request),
        1 => (1u8..4).prop_map(Undo),
        1 => Just(DropMemory),
        1 => prop_oneof![Just(SessionAffinity::Off), Just(SessionAffinity::ClientIp(7)), Just(SessionAffinity::ClientIp(10_800))].prop_map(Affinity),
        1 => any::<bool>().prop_map(Preview),
        1 => Just(PreviewByGit),
        1 => any::<bool>().prop_map(PreviewFails),
    ]
}

/// The same, for a declared pair of three versions.
fn happening_to_versions() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        20 => happening().prop_filter("of one Deployment", |happening| !matches!(happening, Image(_) | Scale(_))),
        1 => (0usize..3).prop_map(Live),
        1 => (0usize..3, 0i32..7).prop_map(|(version, replicas)| ScaleVersion(version, replicas)),
        1 => (0usize..3, 1u8..4).prop_map(|(version, image)| ImageOf(version, image)),
    ]
}

/// The same, for a Rollout without Services.
fn happening_to_workers() -> impl Strategy<Value = Happening> {
    happening().prop_filter("of a Service", |happening| !matches!(happening, Happening::Affinity(_)))
}

/// A policy that needs no Service.
fn policy_of_workers() -> impl Strategy<Value = PolicySpec> {
    some_policy().prop_map(|policy| {
        let steps = policy.steps.into_iter().filter(|step| step.weight <= LARGEST || step.weight == 100).collect();
        let (split, canary_replicas, on_failure) = Default::default();
        PolicySpec { steps, split, canary_replicas, on_failure, affinity: None, ..policy }
    })
}

fn some_policy() -> impl Strategy<Value = PolicySpec> {
    let steps = prop_oneof![
        Just(json!([{"weight": 25}, {"weight": 50}, {"weight": 75}, {"weight": 100}])),
        Just(json!([{"weight": 100}])),
        Just(json!([{"weight": 10, "hold": "2s"}, {"weight": 80, "hold": "2s"}, {"weight": 100, "hold": "2s"}])),
    ];
    (
        steps,
        prop_oneof![Just("Resilient"), Just("Exact")],
        prop_oneof![Just("ByWeight"), Just("Full")],
        prop_oneof![3 => Just("Adopt"), 1 => Just("Roll")],
        prop_oneof![3 => Just("Rollback"), 1 => Just("Pause")],
        prop_oneof![2 => Just(json!(null)), 1 => Just(json!({"clientIP": {"timeout": "10m"}}))],
        prop_oneof![
            3 => Just(json!([])),
            1 => Just(json!([{"name": "sign-off", "approval": {}}])),
            1 => Just(json!([{"name": "sign-off", "approval": {"weight": 100}}, {"name": "end", "approval": {}, "when": ["BeforePromotion"]}])),
        ],
    )
        .prop_map(|(steps, split, replicas, promotion, on_failure, affinity, gates)| {
            policy(json!({
                "steps": steps, "split": split, "canaryReplicas": replicas, "promotion": promotion, "onFailure": on_failure,
                "keepPrevious": "2s", "settle": "500ms", "progressDeadline": "30s", "affinity": affinity, "gates": gates,
            }))
        })
}

fn happen(model: &mut Model, happening: &Happening) {
    use Happening::*;
    match happening {
        Control => drop(model.control(Crash::Never)),
        CrashAfter(writes) => drop(model.control(Crash::After(*writes))),
        Controllers => model.controllers(),
        Kubelet => model.kubelet(),
        Endpoints => model.endpoints(),
        Tick(milliseconds) => model.tick(*milliseconds),
        Image(number) => model.set_image(&format!("hello:v{number}")),
        Scale(replicas) => model.scale(*replicas),
        Unready(number) => {
            if let Some(pod) = model.pods.get_mut(*number) {
                pod.ready = false;
            }
        }
        Recover => model.pods.iter_mut().for_each(|pod| pod.ready |= pod.was_ready),
        DeletePod(number) => {
            let now = model.now;
            if let Some(pod) = model.pods.get_mut(*number) {
                pod.deleting_since = Some(now);
            }
        }
        Restart(number) => {
            let now = model.now;
            if let Some(pod) = model.pods.get_mut(*number) {
                pod.last_restart = Some(now);
            }
        }
        Pause(paused) => model.edit_spec(|spec| spec.paused = *paused),
        Request(action) => {
            let (revision, id, action) = (model.wanted().revision.clone(), format!("{}", model.now), *action);
            model.edit_spec(|spec| {
                spec.request = Some(self::Request { id, action, revision, to: None, reason: String::new(), by: String::new() });
            });
        }
        Undo(number) => {
            let status = model.status();
            let released = status.release.as_ref().map(|release| &release.revision);
            let revision = released.or(status.stable.as_ref().map(|stable| &stable.revision)).cloned().unwrap_or_default();
            let (to, id, action) = (Some(model.revision_of(*number)), format!("{}", model.now), RequestAction::Undo);
            model.edit_spec(|spec| {
                spec.request = Some(self::Request { id, action, revision, to, reason: String::new(), by: String::new() });
            });
        }
        DropMemory => model.memory = None,
        Affinity(affinity) => model.set_affinity(*affinity),
        Live(version) => model.set_live(VERSIONS[*version]),
        ScaleVersion(version, replicas) => model.scale_version(VERSIONS[*version], *replicas),
        ImageOf(version, image) => model.set_image_of(VERSIONS[*version], &format!("hello:v{image}")),
        Preview(named) => name_preview(model, *named),
        PreviewByGit => {
            if let Some(preview) = model.services.iter_mut().find(|service| service.name == NEXT) {
                preview.selector = [("app".to_owned(), "hello".to_owned())].into();
            }
        }
        PreviewFails(fails) => model.preview_fails = *fails,
    }
}

/// Where there is a Service that can be it.
fn name_preview(model: &mut Model, named: bool) {
    if model.services.iter().any(|service| service.name == NEXT) {
        model.edit_spec(|spec| spec.preview = named.then(|| NEXT.to_owned()));
    }
}

/// Left alone: nobody pauses, pods recover, a canary kept for debugging is let go, what asks for an approval has it.
fn come_to_rest(model: &mut Model) {
    model.edit_spec(|spec| {
        spec.paused = false;
        spec.request = None;
    });
    model.preview_fails = false;
    name_preview(model, true);
    for round in 0..3_000 {
        happen(model, &Happening::Recover);
        let wrote = model.control(Crash::Never);
        model.settle();
        model.tick(500);
        let why = &model.status().why;
        let asked = if why.contains("until a Retry or Abort") {
            Some(RequestAction::Abort)
        } else {
            why.contains("send an Approve request").then_some(RequestAction::Approve)
        };
        if let Some(action) = asked {
            let revision = model.wanted().revision.clone();
            let id = format!("{}", model.now);
            model.edit_spec(|spec| {
                spec.request = Some(Request { id, action, revision, to: None, reason: String::new(), by: String::new() });
            });
        }
        let rest = matches!(model.phase(), Phase::Healthy | Phase::RolledBack) && model.status().release.is_none();
        if rest && !wrote {
            return;
        }
        assert!(round < 2_999, "no rest: {:?} {}\n{}", model.phase(), model.status().why, model.trace.join("\n"));
    }
}

/// A managed pair, from its first rest to its last: nothing of ours is left, and the phase tells which version is live.
fn play(mut model: Model, history: &[Happening]) {
    model.run_to(Phase::Healthy);
    for one in history {
        model.trace.push(format!("> {one:?}"));
        happen(&mut model, one);
    }
    come_to_rest(&mut model);
    model.settle();
    model.assert_clean();
    let stable = model.status().stable.clone().expect("a live version");
    assert_eq!(model.phase() == Phase::Healthy, stable.revision == model.hello().revision);
    assert_eq!(model.hello().paused, model.phase() == Phase::RolledBack);
}

proptest! {
    #[test]
    fn no_history_does_harm_and_every_history_comes_to_rest(policy in some_policy(), replicas in 1i32..6, preview in any::<bool>(), history in prop::collection::vec(happening(), 0..150)) {
        let mut model = Model::new(replicas, policy);
        if preview {
            model.add_preview(NEXT);
        }
        play(model, &history);
    }

    #[test]
    fn no_history_of_a_worker_does_harm_and_every_one_comes_to_rest(
        policy in policy_of_workers(),
        replicas in 1i32..6,
        history in prop::collection::vec(happening_to_workers(), 0..150),
    ) {
        play(Model::worker(replicas, policy), &history);
    }

    #[test]
    fn no_history_of_a_declared_pair_does_harm_and_every_one_comes_to_rest(
        policy in some_policy(),
        idle in any::<bool>(),
        replicas in prop::array::uniform3(0i32..5),
        named in any::<bool>(),
        preview in any::<bool>(),
        history in prop::collection::vec(happening_to_versions(), 0..150),
    ) {
        let idle = if idle { Idle::ScaleToZero } else { Idle::Keep };
        let [first, others @ ..] = replicas;
        let mut model = Model::declared(&[first + 1, others[0], others[1]], PolicySpec { idle, ..policy });
        if named {
            model.services[0].selector.insert("version".into(), "blue".into());
        }
        if preview {
            model.add_preview(NEXT);
        }
        model.run_to(Phase::Healthy);
        for one in &history {
            model.trace.push(format!("> {one:?}"));
            happen(&mut model, one);
        }
        // A version without pods is nothing that clients could be taken back to; its owner gives it some.
        for version in VERSIONS {
            model.scale_version(version, 2);
        }
        come_to_rest(&mut model);
        model.settle();
        model.assert_clean();
        let stable = model.status().stable.clone().expect("a live version");
        prop_assert_eq!(model.phase() == Phase::Healthy, stable.name == model.wanted().name);
    }
}
