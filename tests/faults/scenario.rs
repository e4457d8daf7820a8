//! What happens in a run when nothing goes wrong: a policy, and a script of what people and the application do.

use serde_json::{Value, json};

use stepgate::api::status::Phase;

use crate::pair::{Pair, SIZE};

/// One story.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub pair: Pair,
    pub policy: Value,
    /// The Services of the Rollout, which there are; none of a queue worker.
    pub services: &'static [&'static str],
    /// The Service that shows the version under release, where there is one.
    pub preview: Option<&'static str>,
    /// Whether the admission policies are installed.
    pub guarded: bool,
    /// Each act at its moment, one after the other.
    pub script: Vec<(When, Act)>,
    /// Phase at the end, none where the Rollout is gone; the version that serves; whether hello is paused; outcomes, oldest first.
    pub end: (Option<Phase>, &'static str, bool, &'static [&'static str]),
    /// Writes, Events apart, from the first act to the end (design §11); `None` where no number is promised.
    pub budget: Option<usize>,
}

/// A moment of a story, read off the Rollout as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// In this phase.
    In(Phase),
    /// At this weight, not confirmed yet.
    Asked(u8),
    /// At this weight, confirmed.
    Confirmed(u8),
    /// At rest, after so many releases.
    Ended(usize),
}

/// What people and the application do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// `kubectl set image`.
    Image(&'static str),
    /// Of a declared pair: this version is to be live.
    Live(&'static str),
    /// One pod of this version is not ready any more.
    Unready(&'static str),
    /// All pods of this version answer `/healthz` so.
    Health(&'static str, &'static str),
    /// All pods of this version end by themselves, once.
    Crash(&'static str),
    Abort,
    /// `stepgate undo` of a release under way.
    Undo,
    /// `stepgate undo` at rest, from the one version to the other one.
    UndoTo(&'static str),
    DeleteRollout,
}

fn quarters(hold: &str, split: &str, promotion: &str) -> Value {
    let steps: Vec<Value> = [25, 50, 75, 100].iter().map(|weight| json!({"weight": weight, "hold": hold})).collect();
    json!({"steps": steps, "split": split, "promotion": promotion, "settle": "200ms", "keepPrevious": "1s", "progressDeadline": "10m"})
}

fn blue_green() -> Value {
    json!({"steps": [{"weight": 100, "hold": "1s"}], "settle": "200ms", "keepPrevious": "1s", "progressDeadline": "10m"})
}

/// Shares of the pods of a queue worker.
fn shares(hold: &str, promotion: &str) -> Value {
    json!({
        "steps": [{"weight": 10, "hold": hold}, {"weight": 50, "hold": hold}, {"weight": 100}],
        "promotion": promotion, "keepPrevious": "1s", "progressDeadline": "10m",
    })
}

fn with_sign_off(mut policy: Value) -> Value {
    policy["gates"] = json!([{"name": "sign-off", "approval": {}}, {"name": "end", "approval": {}, "when": ["BeforePromotion"]}]);
    policy
}

fn with_health(mut policy: Value) -> Value {
    policy["gates"] = json!([{"name": "healthz", "http": {"path": "/healthz", "port": "http", "period": "250ms", "timeout": "250ms"}}]);
    policy
}

fn with_approvals(mut policy: Value) -> Value {
    policy["gates"] = json!([{"name": "sign-off", "approval": {}}, {"name": "late", "approval": {"weight": 75}}]);
    policy
}

fn fast(mut policy: Value) -> Value {
    policy["undo"] = json!("Fast");
    policy
}

fn with_affinity(mut policy: Value) -> Value {
    policy["affinity"] = json!({"clientIP": {"timeout": "10m"}});
    policy
}

fn idle(mut policy: Value) -> Value {
    policy["idle"] = json!("ScaleToZero");
    policy
}

/// All stories.
#[allow(clippy::too_many_lines, reason = "one table")]
pub fn all() -> Vec<Scenario> {
    [managed(), workers(), declared()].concat()
}

/// Those of two Deployments of the user's own. What the second one has no pods for at first is split by counts, the rest by rotation.
fn declared() -> Vec<Scenario> {
    use Act::*;
    use When::*;
    let promoted = (Some(Phase::Healthy), "v2", false, &["Promoted"][..]);
    let rolled_back = (Some(Phase::RolledBack), "v1", false, &["RolledBack"][..]);
    let gone = |version| (None, version, false, &[][..]);
    let (cold, warm) = (Pair::Declared { label: "version", spare: 0 }, Pair::Declared { label: "track", spare: SIZE });
    let story = |name, pair, policy, guarded, acts: &[(When, Act)], end| {
        let script = std::iter::once((In(Phase::Healthy), Live("v2"))).chain(acts.iter().copied()).collect();
        Scenario { name, pair, policy, services: &["hello"], preview: None, guarded, script, end, budget: None }
    };
    let brisk = || quarters("0s", "Resilient", "Adopt");
    let held = || quarters("500ms", "Resilient", "Adopt");
    vec![
        story("declared, flip", warm, blue_green(), true, &[], promoted),
        story("declared, flip, unguarded", warm, blue_green(), false, &[], promoted),
        story("declared, flip, idle", warm, idle(blue_green()), true, &[], promoted),
        story("declared, stepped", cold, brisk(), true, &[], promoted),
        story("declared, stepped, warm", warm, held(), true, &[], promoted),
        story("declared, stepped, sticky, idle", cold, idle(with_affinity(held())), true, &[], promoted),
        story("declared, aborted at 75", cold, held(), true, &[(Confirmed(75), Abort)], rolled_back),
        story("declared, aborted at 75, warm, unguarded", warm, held(), false, &[(Confirmed(75), Abort)], rolled_back),
        story("declared, unready at 75", warm, held(), true, &[(Confirmed(75), Unready("v2"))], rolled_back),
        story("declared, unready while baking", cold, idle(held()), true, &[(In(Phase::Baking), Unready("v2"))], rolled_back),
        story(
            "declared, set back at 50",
            cold,
            held(),
            true,
            &[(Confirmed(50), Live("v1"))],
            (Some(Phase::Healthy), "v1", false, &["Superseded"]),
        ),
        story("declared, deleted at 50", cold, held(), true, &[(Confirmed(50), DeleteRollout)], gone("v1")),
        story("declared, deleted at 75, warm", warm, held(), true, &[(Asked(75), DeleteRollout)], gone("v1")),
        story("declared, deleted while baking", warm, idle(held()), true, &[(In(Phase::Baking), DeleteRollout)], gone("v2")),
        story(
            "declared, there and back",
            warm,
            idle(blue_green()),
            true,
            &[(Ended(1), Live("v1"))],
            (Some(Phase::Healthy), "v1", false, &["Promoted", "Promoted"]),
        ),
    ]
}

/// Those of one Deployment behind a Service.
fn managed() -> Vec<Scenario> {
    use Act::*;
    use When::*;
    let release = (In(Phase::Healthy), Image("v2"));
    let promoted = (Some(Phase::Healthy), "v2", false, &["Promoted"][..]);
    let rolled_back = (Some(Phase::RolledBack), "v1", true, &["RolledBack"][..]);
    let undone = (Some(Phase::Healthy), "v1", false, &["Promoted", "Promoted"][..]);
    let gone = |version, paused| (None, version, paused, &[][..]);
    let story = |name, policy, guarded, acts: &[(When, Act)], end| {
        let script = std::iter::once(release).chain(acts.iter().copied()).collect();
        Scenario { name, pair: Pair::Managed, policy, services: &["hello"], preview: None, guarded, script, end, budget: None }
    };
    let brisk = || quarters("0s", "Resilient", "Adopt");
    let held = || quarters("500ms", "Resilient", "Adopt");
    vec![
        Scenario { budget: Some(32), ..story("resilient", brisk(), true, &[], promoted) },
        Scenario { budget: Some(40), ..story("exact", quarters("0s", "Exact", "Adopt"), true, &[], promoted) },
        Scenario { budget: Some(34), ..story("sticky", with_affinity(brisk()), true, &[], promoted) },
        story("sticky, aborted at 75, unguarded", with_affinity(held()), false, &[(Confirmed(75), Abort)], rolled_back),
        story("sticky, deleted at 50", with_affinity(held()), true, &[(Confirmed(50), DeleteRollout)], gone("v1", true)),
        story("held", held(), true, &[], promoted),
        story("approved", with_approvals(held()), true, &[], promoted),
        story("unguarded", brisk(), false, &[], promoted),
        story("blue-green", blue_green(), true, &[], promoted),
        story("roll", quarters("0s", "Resilient", "Roll"), true, &[], promoted),
        story("unready at 50", held(), true, &[(Confirmed(50), Unready("v2"))], rolled_back),
        story("unready at 75", held(), true, &[(Confirmed(75), Unready("v2"))], rolled_back),
        story(
            "unready at 75, exact, unguarded",
            quarters("500ms", "Exact", "Adopt"),
            false,
            &[(Confirmed(75), Unready("v2"))],
            rolled_back,
        ),
        story("unready while baking", held(), true, &[(In(Phase::Baking), Unready("v2"))], rolled_back),
        story("healthz 500 at 50", with_health(held()), true, &[(Confirmed(50), Health("v2", "500"))], rolled_back),
        story("never healthy", with_health(held()), true, &[(In(Phase::Preparing), Health("v2", "500"))], rolled_back),
        Scenario { budget: None, ..story("abort", held(), true, &[(Confirmed(75), Abort)], rolled_back) },
        story("undone while baking", held(), true, &[(In(Phase::Baking), Undo)], rolled_back),
        story("undone after the bake", held(), true, &[(Ended(1), UndoTo("v1"))], undone),
        story("undone after the bake, fast, unguarded", fast(held()), false, &[(Ended(1), UndoTo("v1"))], undone),
        story(
            "undone, and written again",
            fast(brisk()),
            true,
            &[(Ended(1), UndoTo("v1")), (Ended(2), Image("v2"))],
            (Some(Phase::RolledBack), "v1", true, &["Promoted", "Promoted"]),
        ),
        story("deleted while preparing", held(), true, &[(In(Phase::Preparing), DeleteRollout)], gone("v1", true)),
        story("deleted at 50", held(), true, &[(Confirmed(50), DeleteRollout)], gone("v1", true)),
        story("deleted at 75, unguarded", held(), false, &[(Asked(75), DeleteRollout)], gone("v1", true)),
        story("deleted while baking", held(), true, &[(In(Phase::Baking), DeleteRollout)], gone("v2", false)),
        story("deleted while promoting", held(), true, &[(In(Phase::Promoting), DeleteRollout)], gone("v2", false)),
        story(
            "deleted while rolling back",
            held(),
            true,
            &[(Confirmed(50), Abort), (In(Phase::RollingBack), DeleteRollout)],
            gone("v1", true),
        ),
        story("reverted at 75", held(), true, &[(Confirmed(75), Image("v1"))], (Some(Phase::Healthy), "v1", false, &["Superseded"])),
        story(
            "superseded at 50",
            held(),
            true,
            &[(Confirmed(50), Image("v3"))],
            (Some(Phase::Healthy), "v3", false, &["Superseded", "Promoted"]),
        ),
        story(
            "superseded at 75, unguarded",
            held(),
            false,
            &[(Asked(75), Image("v3"))],
            (Some(Phase::Healthy), "v3", false, &["Superseded", "Promoted"]),
        ),
        Scenario {
            preview: Some("hello-next"),
            ..story(
                "preview, superseded at 75",
                held(),
                true,
                &[(Confirmed(75), Image("v3"))],
                (Some(Phase::Healthy), "v3", false, &["Superseded", "Promoted"]),
            )
        },
    ]
}

/// Those of one Deployment without Services.
fn workers() -> Vec<Scenario> {
    use Act::*;
    use When::*;
    let promoted = (Some(Phase::Healthy), "v2", false, &["Promoted"][..]);
    let rolled_back = (Some(Phase::RolledBack), "v1", true, &["RolledBack"][..]);
    let gone = |version, paused| (None, version, paused, &[][..]);
    let worker = |name, policy, guarded, acts: &[(When, Act)], end| {
        let script = std::iter::once((In(Phase::Healthy), Image("v2"))).chain(acts.iter().copied()).collect();
        Scenario { name, pair: Pair::Managed, policy, services: &[], preview: None, guarded, script, end, budget: None }
    };
    vec![
        Scenario { budget: Some(24), ..worker("worker", shares("0s", "Adopt"), true, &[], promoted) },
        worker("worker, held", shares("500ms", "Adopt"), true, &[], promoted),
        worker("worker, unguarded", shares("0s", "Adopt"), false, &[], promoted),
        worker("worker, roll", shares("0s", "Roll"), true, &[], promoted),
        worker("worker, approved", with_sign_off(shares("500ms", "Adopt")), true, &[], promoted),
        worker("worker, crash in the first step", shares("2s", "Adopt"), true, &[(Asked(10), Crash("v2"))], rolled_back),
        worker("worker, crash while both work", shares("500ms", "Adopt"), true, &[(In(Phase::Baking), Crash("v2"))], rolled_back),
        worker("worker, unready at 50", shares("500ms", "Adopt"), true, &[(Confirmed(50), Unready("v2"))], rolled_back),
        worker("worker, unready at 50, unguarded", shares("500ms", "Adopt"), false, &[(Confirmed(50), Unready("v2"))], rolled_back),
        worker("worker, healthz 500 at 10", with_health(shares("2s", "Adopt")), true, &[(Confirmed(10), Health("v2", "500"))], rolled_back),
        worker("worker, abort", shares("500ms", "Adopt"), true, &[(Confirmed(50), Abort)], rolled_back),
        worker("worker, deleted at 50", shares("2s", "Adopt"), true, &[(Confirmed(50), DeleteRollout)], gone("v1", true)),
        worker(
            "worker, deleted while promoting",
            shares("500ms", "Adopt"),
            true,
            &[(In(Phase::Promoting), DeleteRollout)],
            gone("v2", false),
        ),
        worker(
            "worker, superseded at 50",
            shares("500ms", "Adopt"),
            true,
            &[(Confirmed(50), Image("v3"))],
            (Some(Phase::Healthy), "v3", false, &["Superseded", "Promoted"]),
        ),
    ]
}
