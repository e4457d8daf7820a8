//! A page, as far as it can be run: its fenced blocks.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A fenced block of a page.
#[derive(Clone, Debug)]
pub struct Block {
    /// Where it begins: `docs/rollback.md:12`.
    pub at: String,
    pub kind: Kind,
    pub text: String,
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Commands, to be run as they stand.
    Shell,
    /// Commands that would reach beyond the page's namespace: each `kubectl` that writes is made a dry run.
    ShellDryRun,
    /// A manifest. Where its first line is a comment that names a file, the reader is to save it there.
    Manifest,
}

impl Block {
    /// The file that a manifest is to be saved in.
    pub fn file(&self) -> Option<&str> {
        self.text.lines().next()?.strip_prefix("# ").filter(|name| is(name, "yaml"))
    }
}

fn is(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// The folder of the pages.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The text of a page.
pub fn text(page: &str) -> String {
    fs::read_to_string(folder().join(page)).unwrap_or_else(|error| panic!("docs/{page}: {error}"))
}

/// The names of all pages.
pub fn pages() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> = entries.filter(|name| is(name, "md")).collect();
    pages.sort();
    pages
}

/// The blocks of a page that can be run or applied.
pub fn blocks(page: &str) -> Vec<Block> {
    let (text, mut blocks, mut open) = (text(page), Vec::new(), None::<(String, Option<Kind>, String)>);
    for (number, line) in text.lines().enumerate() {
        let fence = line.strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(info)) => open = Some((format!("docs/{page}:{}", number + 1), kind(info), String::new())),
            (Some(_), Some("")) => {
                let (at, kind, text) = open.take().unwrap();
                blocks.extend(kind.map(|kind| Block { at, kind, text }));
            }
            (Some((_, _, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (Some((at, ..)), Some(info)) => panic!("{at}: a block in a block: {info}"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "docs/{page}: a block without an end");
    blocks
}

fn kind(info: &str) -> Option<Kind> {
    match info {
        "sh" => Some(Kind::Shell),
        "sh dry-run" => Some(Kind::ShellDryRun),
        "yaml" => Some(Kind::Manifest),
        "text" => None,
        other => panic!("a block of a kind that is not run: {other:?}"),
    }
}
