//! Who gets the load, and in which order that changes.
//!
//! **Guarantee:** no write leaves a Service with fewer ready pods than the live side has, or than it could select (design section 8.2). New pods get
//! connections only on the strength of pods that were read from the API server within two seconds (8.6). The way back waits for nothing.
//!
//! **Assumption:** the EndpointSlice controller follows a selector in a moment, and nodes follow the slices within `settle`.
//!
//! **Caveat:** the EndpointSlice controller can learn of a deleted pod up to half a second after we do. A selector that is widened in that time
//! adds the dying pod as an endpoint, and this is corrected only a second later. So a Service is opened only after that time.

pub mod back;
pub mod establish;
pub mod fresh;
pub mod pods;
pub mod selectors;
