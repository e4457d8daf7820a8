//! What goes wrong beside the controller, and when.

use serde_json::{Value, json};
use std::time::Duration;
use stepgate::{
    api::{ROLLOUT_UID, ROTATION},
    sim::{
        Line,
        cluster::{Component, Id},
        fault::Rates,
        json as at,
    },
};
use tokio::time::Instant;

use super::Stage;
use crate::{
    law,
    trouble::{Edit, Mishap, Side},
};

/// From the death of a controller to the next one.
const RESTART: Duration = Duration::from_millis(700);
const MISHAP: Duration = Duration::from_secs(3);
/// How long a pod that flaps is unready, and how long ready in between: long enough for the kubelet, which asks once a second.
const FLAP: Duration = Duration::from_millis(1_500);

/// What ends or begins at a time.
#[derive(Clone, Debug)]
pub(super) enum Later {
    Thaw(Line),
    Start(Component),
    Controller { skew: i64 },
    Crash(Line),
    Resume,
    Ready(Id, &'static str),
}

impl Stage<'_> {
    /// A controller that was cut off is dead; another takes its place.
    pub(super) fn crashes(&mut self) {
        let mut dead = 0;
        self.controllers.retain(|controller| {
            let cut = controller.line.is_cut() && !controller.task.is_finished();
            if cut {
                controller.task.abort();
                dead += 1;
            }
            !cut || controller.task.is_finished()
        });
        for _ in 0..dead {
            self.note("the controller is dead");
            self.later.push((Instant::now() + RESTART, Later::Controller { skew: 0 }));
        }
    }

    /// What is due, and the mishaps whose write is on its way.
    pub(super) fn happen(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(when, _)| *when <= now);
        self.later = later;
        for (_, what) in due {
            self.note(format!("{what:?}").split('{').next().unwrap_or_default());
            match what {
                Later::Thaw(line) => line.thaw(),
                Later::Start(component) => self.sim.with(|world, _| world.start(component)),
                Later::Controller { skew } => {
                    let line = Line::new(self.seed ^ (1000 + self.visits)).with_rates(self.rates.clone());
                    self.controller(line, skew);
                }
                Later::Crash(line) => line.cut(),
                Later::Resume => self.edit_rollout(&json!({"spec": {"paused": false}})),
                Later::Ready(pod, ready) => drop(self.sim.with(|world, now| world.tell(now, &pod, "ready", ready))),
            }
        }
        if self.weather.is_some_and(|end| end <= now) {
            self.weather = None;
            self.rates = if self.short_watches {
                Rates { dropped_watch: 100.0, longest_watch: Duration::from_secs(2), ..Rates::NONE }
            } else {
                Rates::NONE
            };
            self.controllers.iter().for_each(|controller| controller.line.set_rates(self.rates.clone()));
            self.note("the weather is fine again");
        }
        let Some(line) = self.controllers.first().map(|controller| controller.line.clone()) else { return };
        let writes = line.writes();
        let (due, mishaps) = std::mem::take(&mut self.mishaps).into_iter().partition(|(number, _)| *number <= writes);
        self.mishaps = mishaps;
        for (_, mishap) in due {
            self.note(format!("{mishap:?}"));
            self.mishap(mishap, &line);
        }
    }

    fn mishap(&mut self, mishap: Mishap, line: &Line) {
        let end = Instant::now() + MISHAP;
        match mishap {
            Mishap::Freeze => {
                line.freeze(self.sim.now());
                self.later.push((end, Later::Thaw(line.clone())));
            }
            Mishap::FreezeAndCrash => {
                line.freeze(self.sim.now());
                self.later.push((Instant::now() + MISHAP / 2, Later::Crash(line.clone())));
            }
            Mishap::Compact => {
                self.read();
                self.sim.with(|world, _| world.api.compact());
            }
            Mishap::Stop(component) => {
                self.sim.with(|world, _| world.stop(component));
                self.later.push((end, Later::Start(component)));
            }
            Mishap::Second => self.later.push((Instant::now(), Later::Controller { skew: 0 })),
            Mishap::Skew(skew) => {
                if let Some(controller) = self.controllers.first() {
                    controller.task.abort();
                    controller.line.cut();
                    self.controllers.remove(0);
                }
                self.later.push((Instant::now() + RESTART, Later::Controller { skew }));
            }
            Mishap::DeletePod(version) => {
                if let Some(name) = self.ready_pod(version) {
                    self.ask("DELETE", &format!("/api/v1/namespaces/default/pods/{name}"), "application/json", &json!({}));
                }
            }
            Mishap::Flap(side) => self.flap(side),
            Mishap::Edit(edit) => self.edit(edit),
        }
    }

    /// A pod of a side is not ready and ready in turns, twice.
    fn flap(&mut self, side: Side) {
        let Some(rollout) = self.rollout() else { return };
        let live = self.law.live_value(&rollout);
        let is_of_side = |pod: &Value| match side {
            Side::Live => at::label(pod, self.scenario.pair.key()) == Some(&live),
            Side::Canary => self.law.is_of_canary(pod),
        };
        let Some(pod) = self.law.all("pods").find(|pod| is_of_side(pod) && law::serves(pod)).map(|pod| Id::of(pod)) else { return };
        let turns = ["false", "true", "false", "true"].into_iter().enumerate();
        let turns = turns.map(|(turn, ready)| (Instant::now() + FLAP * u32::try_from(turn).unwrap_or(0), Later::Ready(pod.clone(), ready)));
        self.later.extend(turns);
        // There is time enough to see it before the release is made permanent.
        let is_early = side == Side::Canary
            && at::text(&rollout, "/status/phase") == "Progressing"
            && at::int(&rollout, "/status/step/weight") < 100
            && !at::text(&rollout, "/status/release/trafficSince").is_empty();
        self.flapped = self.flapped.or(is_early.then(|| at::items(&rollout, "/status/history").len()));
    }

    fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Image(version) => self.set_image(version),
            Edit::Live(version) => self.set_live(version),
            Edit::ImageOf(version, image) => self.set_image_of(&self.scenario.pair.deployment(version), image),
            Edit::Scale(version, replicas) => {
                self.patch_deployment(&self.scenario.pair.deployment(version), &json!({"spec": {"replicas": replicas}}));
            }
            Edit::Selector => {
                let mut selector = json!({"spec": {"selector": {self.scenario.pair.key(): null, ROTATION: null}}});
                at::fields_mut(&mut selector, "/spec/selector")
                    .extend(at::fields(&self.scenario.pair.selector(), "").cloned().unwrap_or_default());
                self.ask("PATCH", "/api/v1/namespaces/default/services/hello", "application/merge-patch+json", &selector);
            }
            Edit::Unpause => self.patch_deployment("hello", &json!({"spec": {"paused": false}})),
            Edit::Abort => self.request("Abort"),
            Edit::Promote => self.request("Promote"),
            Edit::DeleteCanary => {
                let canary = self.law.all("deployments.apps").find(|deployment| at::label(deployment, ROLLOUT_UID).is_some()).cloned();
                if let Some(canary) = canary {
                    self.ask(
                        "DELETE",
                        &format!("/apis/apps/v1/namespaces/default/deployments/{}", at::name(&canary)),
                        "application/json",
                        &json!({}),
                    );
                }
            }
            Edit::DeleteRollout => self.delete_rollout(),
            Edit::Hold => {
                self.edit_rollout(&json!({"spec": {"paused": true}}));
                self.later.push((Instant::now() + Duration::from_secs(5), Later::Resume));
            }
        }
    }
}
