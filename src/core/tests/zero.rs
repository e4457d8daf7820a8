//! A Deployment that is scaled to 0 in mid-release, by a person or an idler, and up again.

use crate::{
    api::{
        rollout::RequestAction,
        status::{Outcome, Phase},
    },
    core::tests::{
        managed::{at_weight, outcome, request},
        model::Crash,
    },
};

#[test]
fn scaling_to_zero_ends_a_release() {
    for weight in [25, 75, 100] {
        let mut model = at_weight(4, weight);
        model.scale(0);
        model.run(|model| model.status().release.is_none() && model.phase() == Phase::RolledBack && model.pods.is_empty());
        assert_eq!(outcome(&model), Some(Outcome::ScaledToZero));
        assert!(model.hello().paused && model.status().why.contains("is scaled to 0"), "{}", model.status().why);
        model.assert_clean();
    }
}

#[test]
fn an_idler_that_takes_a_deployment_to_0_and_back_in_mid_release_brings_the_live_version_back() {
    for weight in [25, 75, 100] {
        let mut model = at_weight(4, weight);
        model.scale(0);
        model.run(|model| model.status().release.is_none() && model.pods.is_empty());
        for _ in 0..20 {
            model.control(Crash::Never);
            model.settle();
        }
        model.scale(1);
        model.settle();
        assert_eq!((model.pods_of("hello:v1").len(), model.pods_of("hello:v2").len()), (1, 0), "{}", model.trace.join("\n"));
        model.run(|model| model.phase() == Phase::Progressing);
        request(&mut model, RequestAction::Abort);
        model.run_to(Phase::RolledBack);
        assert_eq!(model.pods_of("hello:v1").len(), 1);
        model.assert_clean();
    }
}

#[test]
fn what_is_held_never_becomes_live_because_the_live_replica_set_was_collected() {
    for ended in [RequestAction::Abort, RequestAction::Promote] {
        let mut model = at_weight(4, 25);
        if ended == RequestAction::Abort {
            request(&mut model, RequestAction::Abort);
            model.run_to(Phase::RolledBack);
        }
        model.scale(0);
        model.run(|model| model.status().release.is_none() && model.pods.is_empty());
        // `revisionHistoryLimit: 0`: the Deployment controller removes what is at 0 and not of its template.
        let revision = model.hello().revision.clone();
        model.sets.retain(|set| set.revision == revision);
        for replicas in [0, 2] {
            model.scale(replicas);
            for _ in 0..20 {
                model.control(Crash::Never);
                model.settle();
            }
            assert!(model.hello().paused && model.pods.is_empty(), "{}", model.trace.join("\n"));
            assert!(model.status().why.contains("revisionHistoryLimit"), "{}", model.status().why);
            assert_ne!(model.status().stable.as_ref().map(|stable| stable.revision.clone()), Some(revision.clone()));
        }
        // The way out: the template of a good version.
        model.set_image("hello:v1");
        model.run(|model| model.phase() == Phase::Healthy && model.pods_of("hello:v1").len() == 2);
        model.assert_clean();
    }
}
