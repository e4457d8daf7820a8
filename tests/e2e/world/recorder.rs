//! The watches that fill a timeline.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use futures::{StreamExt, future};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use stepgate::observe::watch::WatchBackoff;
use tokio::sync::watch;

use super::{Change, Kind, Timeline};

/// Records all that happens in the namespace until nobody reads the timeline any more.
pub fn record(client: &Client, namespace: &str) -> watch::Receiver<Timeline> {
    let (sender, receiver) = watch::channel(Timeline::new());
    for kind in Kind::ALL {
        tokio::spawn(watch_kind(client.clone(), namespace.to_owned(), kind, sender.clone()));
    }
    receiver
}

async fn watch_kind(client: Client, namespace: String, kind: Kind, timeline: watch::Sender<Timeline>) {
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource(kind));
    let events = watcher(api, watcher::Config::default()).backoff(WatchBackoff::default());
    let closed = timeline.clone();
    let mut listed = BTreeSet::new();
    let recorded = events.for_each(|event| {
        let change = match event {
            Ok(Event::Apply(object)) => Some((object, true)),
            Ok(Event::InitApply(object)) => {
                listed.extend(object.metadata.name.clone());
                Some((object, true))
            }
            Ok(Event::Delete(object)) => Some((object, false)),
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut listed);
                timeline.send_modify(|timeline| timeline.keep(kind, &listed));
                None
            }
            Ok(Event::Init) | Err(_) => None,
        };
        if let Some((object, exists)) = change {
            let name = object.metadata.name.clone().expect("every object has a name");
            let version =
                object.metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).expect("a numeric resource version");
            let object = exists.then(|| Arc::new(serde_json::to_value(&object).expect("objects are JSON")));
            timeline.send_modify(|timeline| timeline.add(Change { at: Instant::now(), version, kind, name, object }));
        }
        future::ready(())
    });
    tokio::select! {
        () = recorded => {}
        () = closed.closed() => {}
    }
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version) = match kind {
        Kind::Rollout => (stepgate::api::GROUP, "v1alpha1"),
        Kind::Deployment | Kind::ReplicaSet => ("apps", "v1"),
        Kind::Pod | Kind::Service => ("", "v1"),
        Kind::EndpointSlice => ("discovery.k8s.io", "v1"),
    };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &format!("{kind:?}")))
}
