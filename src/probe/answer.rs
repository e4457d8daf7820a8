//! What one probe comes back with, and what all of them say of themselves.

use crate::core::decision::watch::Target;

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP status.
    Status(u16),
    /// A connection stands.
    Connected,
    /// The health protocol of gRPC says that it serves.
    Serving,
    /// An answer, by gRPC or HTTP/2, that does not say so.
    NotServing(String),
    /// No answer: refused, timed out, or not HTTP.
    None(String),
}

/// What a request says of who asks.
pub const USER_AGENT: &str = concat!("stepgate/", env!("CARGO_PKG_VERSION"));

/// Where a pod is asked, as it stands in an address.
pub fn address(target: &Target) -> String {
    let Target { ip, port, .. } = target;
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}
