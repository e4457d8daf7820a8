//! The table of manifests on the embedded cluster, which has to say what a real one says.

use stepgate::sim::{Setup, Sim};

use crate::{
    manifests::manifests,
    server::{wrongly_accepted, wrongly_refused},
};

#[tokio::test]
async fn what_is_to_be_accepted_is_accepted_and_can_be_read() {
    let client = Sim::new(&Setup::default()).client("admin");
    let wrong = wrongly_accepted(&client).await;
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_is_to_be_refused_is_refused_in_these_words() {
    let client = Sim::new(&Setup::default()).client("admin");
    // The rights of an author are not the embedded cluster's concern: there everybody may do everything.
    let rows = manifests().refused.into_iter().filter(|row| row.author.is_none());
    let wrong = wrongly_refused(&client, "default", rows).await;
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}
