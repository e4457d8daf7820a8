//! GET: one object, lists, and the start of watches.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    ApiServer, Reply,
    kinds::Kind,
    problem::Problem,
    request::{Request, Target},
    store::Key,
    table,
    view::{View, present},
    watch::Watch,
};
use crate::sim::{clock::after, json};

/// How long a watch lasts that names no time: within the real server's 30 to 60 minutes.
const WATCH_TIMEOUT: Duration = Duration::from_secs(45 * 60);

impl ApiServer {
    pub(super) fn read(&mut self, now: Timestamp, target: &Target, request: &Request) -> Result<Reply, Problem> {
        let watching = matches!(request.param("watch"), "true" | "1");
        match target.subresource.as_str() {
            // Of one object there is no watch, but one of its collection with a field selector.
            "" if watching && target.name.is_empty() => self.watch(now, target, request).map(|watch| Reply::Watch(Box::new(watch))),
            "" if target.name.is_empty() => self.list_request(now, target, request).map(Reply::ok),
            "" | "status" => Ok(Reply::ok(View::of(target, request)?.render(&target.kind, self.find(&target.key(), &target.kind)?, now))),
            "scale" if target.kind.scale.is_some() => {
                Ok(Reply::ok(super::scale::of(&target.kind, self.find(&target.key(), &target.kind)?)))
            }
            _ => Err(Problem::no_such_path()),
        }
    }

    pub(super) fn find(&self, key: &Key, kind: &Kind) -> Result<&Arc<Value>, Problem> {
        self.store.get(key).ok_or_else(|| Problem::not_found(kind, &key.name))
    }

    fn list_request(&self, now: Timestamp, target: &Target, request: &Request) -> Result<Value, Problem> {
        let view = View::of(target, request)?;
        let resource = target.kind.stored_as();
        let limit: usize = request.param("limit").parse().unwrap_or(0);
        let (version, start) = match request.param("continue") {
            "" => match (request.param("resourceVersionMatch"), request.param("resourceVersion").parse()) {
                ("Exact", Ok(version)) => (version, None),
                (_, Ok(version)) if version > self.store.version() => return Err(Problem::timeout()),
                _ => (self.store.version(), None),
            },
            token => continued(token, &resource).ok_or_else(|| Problem::bad_request("continue key is not valid"))?,
        };
        let then = self.store.list_at(&resource, &target.namespace, version)?;
        let mut rest =
            then.iter().filter(|(key, object)| start.as_ref().is_none_or(|start| *key > start) && view.selects(&target.kind, object));
        let page: Vec<_> = if limit == 0 { rest.by_ref().collect() } else { rest.by_ref().take(limit).collect() };
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if let Some((last, _)) = page.last().filter(|_| rest.next().is_some()) {
            metadata["continue"] = format!("{version}:{}:{}", last.namespace, last.name).into();
        }
        if view.table {
            let objects: Vec<Value> = page.iter().map(|(_, object)| present(&target.kind, object)).collect();
            return Ok(table::of_list(&target.kind, &objects, &metadata, now));
        }
        let item = |object: &Value| {
            let mut item = view.render(&target.kind, object, now);
            // A list of a built-in kind says once what its items are.
            if !view.partial && !target.kind.is_custom() {
                json::unset(&mut item, "/apiVersion");
                json::unset(&mut item, "/kind");
            }
            item
        };
        let items: Vec<Value> = page.iter().map(|(_, object)| item(object)).collect();
        let (api_version, kind) = if view.partial {
            ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList".to_owned())
        } else {
            (target.kind.api_version(), format!("{}List", target.kind.kind))
        };
        Ok(json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "items": items }))
    }

    fn watch(&self, now: Timestamp, target: &Target, request: &Request) -> Result<Watch, Problem> {
        let view = View::of(target, request)?;
        let asked = request.param("resourceVersion");
        let initial = request.param("sendInitialEvents") == "true";
        let timeout =
            request.param("timeoutSeconds").parse().ok().filter(|seconds| *seconds > 0).map_or(WATCH_TIMEOUT, Duration::from_secs);
        let mut watch = Watch {
            kind: target.kind.clone(),
            cursor: self.store.version(),
            ends: after(now, timeout),
            bookmark: None,
            first: VecDeque::new(),
            failed: false,
            lag: Duration::ZERO,
            frozen_bookmarks: false,
            view,
        };
        if initial || asked.is_empty() || asked == "0" {
            for (_, object) in self.store.list(&target.kind.stored_as(), &target.namespace) {
                if watch.view.selects(&target.kind, object) {
                    watch.first.push_back(json!({ "type": "ADDED", "object": watch.view.render(&target.kind, object, now) }));
                }
            }
            if initial {
                watch.first.push_back(json!({ "type": "BOOKMARK", "object": watch.bookmark_object(true) }));
            }
        } else {
            watch.cursor = asked.parse().map_err(|_| Problem::bad_request(format!("invalid resourceVersion {asked:?}")))?;
            if watch.cursor < self.store.oldest() {
                watch.first.push_back(super::watch::error(&Problem::expired(watch.cursor, self.store.oldest())));
                watch.failed = true;
            }
        }
        if request.param("allowWatchBookmarks") == "true" {
            watch.plan_bookmark(now);
        }
        Ok(watch)
    }
}

fn continued(token: &str, resource: &str) -> Option<(u64, Option<Key>)> {
    let mut parts = token.splitn(3, ':');
    let version = parts.next()?.parse().ok()?;
    Some((version, Some(Key::new(resource, parts.next()?, parts.next()?))))
}
