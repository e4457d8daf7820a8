//! The pages without a cluster: none is forgotten, no link is dead, and no image lacks a stand-in.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::page::{blocks, folder, text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter_map(|name| name.strip_suffix(".md").map(str::to_owned)).collect()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn every_page_is_played_and_linked_from_the_readme() {
    let (main, readme) = (include_str!("main.rs"), fs::read_to_string(root().join("README.md")).unwrap());
    for page in pages() {
        assert!(main.contains(&format!("play(\"{page}\"")), "{page} is not played");
        assert!(readme.contains(&format!("(docs/systems/{page}.md)")), "{page} is not linked from the README");
        assert!(!blocks(&page, &text(&page)).is_empty(), "{page} has no commands");
    }
}

#[test]
fn no_link_is_dead() {
    for page in pages() {
        for link in text(&page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            assert!(folder().join(file).exists(), "docs/systems/{page}.md links to {link}");
        }
    }
}

#[test]
fn every_image_has_a_stand_in() {
    let stand_ins = include_str!("prepare");
    for page in pages() {
        for file in files(&root().join("examples").join(&page)) {
            let text = fs::read_to_string(&file).unwrap();
            let images = text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image: "));
            let images: BTreeSet<&str> = images.map(|image| image.split(' ').next().unwrap_or(image)).collect();
            for image in images.into_iter().filter(|image| !image.contains("{{")) {
                assert!(stand_ins.contains(image), "{}: tests/systems/prepare makes no {image}", file.display());
            }
        }
    }
}
