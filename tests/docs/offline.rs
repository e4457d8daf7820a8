//! The pages without a cluster: none is forgotten, no link is dead, no sentence is unexplained.

use std::{collections::BTreeSet, fs};

use crate::{
    page::{folder, pages, text},
    run::PAGES,
    sentences::{refusals, whys},
};

#[test]
fn every_page_is_run() {
    let run: BTreeSet<String> = PAGES.iter().map(ToString::to_string).collect();
    assert_eq!(pages().into_iter().collect::<BTreeSet<_>>(), run);
}

#[test]
fn every_page_is_linked_from_the_readme() {
    let readme = fs::read_to_string(folder().join("../README.md")).unwrap();
    let missing: Vec<String> = pages().into_iter().filter(|page| !readme.contains(&format!("(docs/{page})"))).collect();
    assert!(missing.is_empty(), "not linked: {missing:?}");
}

#[test]
fn no_link_between_pages_is_dead() {
    for page in pages() {
        for link in text(&page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            assert!(folder().join(file).exists(), "docs/{page} links to {link}");
        }
    }
}

#[test]
fn every_sentence_of_a_rollout_is_explained() {
    let page = text("troubleshooting.md");
    let sentences = whys().into_iter().map(|why| why.to_string());
    let refused = refusals().into_iter().map(|refusal| format!("`{}` | {refusal}", refusal.reason()));
    let missing: Vec<String> = sentences.chain(refused).filter(|sentence| !page.contains(&format!("| {sentence} |"))).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md does not explain:\n{}", missing.join("\n"));
}
