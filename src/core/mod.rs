//! The decisions, pure: no client, no clock, no randomness, no I/O, no async.
//!
//! [`decide::decide`] takes everything that was observed ([`facts::Snapshot`]) and the time, and says what to do next, what to report, what
//! it waits for and when to look again. Three laws: decide purely, act idempotently; every wait names what it waits for and until when;
//! when data is missing or stale, hold, never advance.
//!
//! The rooms, from the ground up; a room uses those below it, never one beside or above it:
//!
//! | room | |
//! |---|---|
//! | [`facts`], [`share`] | what was observed; shares in whole pods |
//! | [`verdict`] | statistics: is a version good enough, with stated error rates |
//! | [`why`] | reasons and refusals as data, each with its sentence |
//! | [`decision`], [`history`] | what a decision is made of; what is remembered |
//! | [`view`] | the facts, arranged around the two sides of a release |
//! | [`gate`] | gates, judged |
//! | [`traffic`] | who gets the load, and in which order that changes |
//! | [`accept`], [`report`] | whether a release may begin; how a decision looks from outside |
//! | [`workload`], [`preview`] | what each kind of pair does; the Service that shows the new version |
//! | [`request`] | commands of people |
//! | [`release`] | a release under way |
//! | [`rest`] | no release under way |
//! | [`deletion`] | the end of a Rollout |
//! | [`decide`] | the table of contents |

pub mod accept;
pub mod decide;
pub mod decision;
pub mod deletion;
pub mod facts;
pub mod gate;
pub mod history;
pub mod preview;
pub mod release;
pub mod report;
pub mod request;
pub mod rest;
pub mod share;
pub mod traffic;
pub mod verdict;
pub mod view;
pub mod why;
pub mod workload;

#[cfg(test)]
mod tests;
