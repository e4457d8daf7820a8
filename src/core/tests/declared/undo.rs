//! Going back by an `Undo`.

use super::*;

/// Somebody abandons one version for another one; where `live` is named, it is set in the same write.
fn undo(model: &mut Model, from: &str, to: &str, live: Option<&str>) {
    let (revision, to) = (model.version(from).revision.clone(), Some(model.version(to).revision.clone()));
    let (id, action, by) = (model.now.to_string(), RequestAction::Undo, "alice".to_owned());
    model.edit_spec(|spec| {
        spec.request = Some(Request { id, action, revision, to, reason: String::new(), by });
        if let Some(live) = live {
            spec.workload.live = Some(live.to_owned());
        }
    });
}

#[test]
fn in_the_bake_clients_are_back_in_the_next_decision_and_nobody_loses_a_pod() {
    let mut model = healthy(&[3, 3], blue_green());
    model.set_live(GREEN);
    model.run(|model| model.phase() == Phase::Baking);
    let before = (model.uids_of(BLUE), model.uids_of(GREEN));
    model.trace.clear();
    undo(&mut model, GREEN, BLUE, None);
    model.control(Crash::Never);
    assert_eq!((model.pin(), pins(&model)), (side("blue"), 1));
    model.run_to(Phase::RolledBack);
    assert_eq!((stable(&model), outcome(&model), pins(&model)), (BLUE, Some(Outcome::RolledBack), 1));
    assert_eq!(before, (model.uids_of(BLUE), model.uids_of(GREEN)));
}

#[test]
fn once_the_roles_are_swapped_it_swaps_them_back_and_the_abandoned_version_is_held() {
    let mut model = healthy(&[3, 3], quarters());
    let before = (model.uids_of(BLUE), model.uids_of(GREEN));
    model.set_live(GREEN);
    model.run(|model| stable(model) == GREEN && model.phase() == Phase::Healthy);
    undo(&mut model, GREEN, BLUE, Some(BLUE));
    model.run(|model| stable(model) == BLUE && model.phase() == Phase::Healthy);
    let ended = model.status().history.last().cloned().expect("a release");
    assert_eq!((ended.outcome, ended.replaced.as_str()), (Outcome::Promoted, model.version(GREEN).revision.as_str()));
    assert_eq!(ended.asked.iter().map(|asked| (asked.action, asked.by.as_str())).collect::<Vec<_>>(), [(RequestAction::Undo, "alice")]);
    assert_eq!(before, (model.uids_of(BLUE), model.uids_of(GREEN)));
    // Git still names green.
    model.set_live(GREEN);
    model.run_to(Phase::RolledBack);
    assert_eq!((stable(&model), model.pin()), (BLUE, side("blue")));
    let held = model.status().canary.clone().expect("what is held");
    assert_eq!((held.name.as_str(), held.revision.as_str(), held.ready), (GREEN, model.version(GREEN).revision.as_str(), 3));
    request(&mut model, RequestAction::Retry);
    model.run(|model| stable(model) == GREEN && model.phase() == Phase::Healthy);
    model.assert_clean();
}

#[test]
fn in_mid_release_it_can_lead_to_a_third_version_by_way_of_the_live_one() {
    let mut model = at_weight(&[2, 2, 2], 50);
    undo(&mut model, GREEN, RED, Some(RED));
    model.control(Crash::Never);
    assert_eq!(model.pin(), side("blue"));
    model.run(|model| model.status().canary.as_ref().is_some_and(|canary| canary.name == RED) && model.phase() == Phase::Progressing);
    let held: Vec<&str> = model.status().rejected.iter().map(|rejected| rejected.revision.as_str()).collect();
    assert_eq!(held, [model.version(GREEN).revision.as_str()]);
}
