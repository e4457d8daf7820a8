//! The rules of the house: which room may import which, read off the code itself, so that it cannot drift.
//!
//! A room is a folder, or a file that is one idea of its own. Each rule that is broken today has a list of what is tolerated; a list only
//! gets shorter, and an entry that is not needed any more fails too.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The rooms, from the ground up. A file imports its own room and the floors below it, never beside or above.
const FLOORS: &[&[&str]] = &[
    &["visible"],
    &["api", "schema", "clock"],
    // The core, from what was observed up to what is decided.
    &["core/facts", "core/share", "core/verdict"],
    &["core/why"],
    &["core/decision", "core/history"],
    &["core/view"],
    &["core/gate"],
    &["core/traffic"],
    &["core/accept", "core/report"],
    &["core/preview", "core/workload"],
    &["core/request"],
    &["core/release"],
    &["core/rest"],
    &["core/deletion"],
    &["core/decide"],
    &["core"],
    // The shell, and what people are shown.
    &["vitals", "observe", "show", "import"],
    &["act", "probe", "events", "lease"],
    &["controller", "serve"],
    &["sim"],
    &["cli"],
    &[""],
];

/// Circles of files that are known and on their way out.
const TOLERATED: &[&[&str]] = &[];

/// Files of more than [`LONG`] lines, and why each is one idea all the same.
const TOO_LONG: &[(&str, &str)] =
    &[("src/cli/demo/view.rs", "every line that the demo draws"), ("src/core/tests/workers.rs", "scenarios of workers")];

/// A longer file usually holds two ideas.
const LONG: usize = 500;

/// What the core may not name: it is given what it needs as arguments.
const IMPURE: &[&str] = &[
    "tokio",
    "reqwest",
    "hyper",
    "kube::Client",
    "Client,",
    "async ",
    ".await",
    "HashMap",
    "HashSet",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The room of a module: the longest of the rooms that its path begins with.
fn room(module: &str) -> &'static str {
    let is_in = |room: &str| room.is_empty() || module.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    FLOORS.iter().flat_map(|rooms| rooms.iter()).copied().filter(|room| is_in(room)).max_by_key(|room| room.len()).unwrap_or("")
}

/// The code of a file without comments, texts and unit tests; lines stay where they are.
fn code(text: &str) -> String {
    let text = text.find("#[cfg(test)]\nmod tests").map_or(text, |at| &text[..at]);
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => {
                for c in rest.by_ref() {
                    if c == '\n' {
                        out.push(c);
                        break;
                    }
                }
            }
            // A quotation mark as a character is not the beginning of a text.
            '\'' if rest.peek() == Some(&'"') => drop(rest.next()),
            '"' => {
                let mut escaped = false;
                for c in rest.by_ref() {
                    if c == '\n' {
                        out.push(c);
                    }
                    match c {
                        _ if escaped => escaped = false,
                        '\\' => escaped = true,
                        '"' => break,
                        _ => {}
                    }
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// The paths that a file names, each with its line: those of its `use` trees, and those written out in its code.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let line_of = |at: usize| code[..at].matches('\n').count() + 1;
    let mut from = 0;
    while let Some(at) = code[from..].find("use ").map(|at| at + from) {
        from = at + 4;
        let begins = code[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || c == ')');
        let Some(end) = code[from..].find(';').map(|end| end + from) else { break };
        if begins {
            flatten("", &code[from..end], &mut |path| found.push((line_of(at), path)));
            from = end;
        }
    }
    for root in ["crate::", "super::"] {
        let mut from = 0;
        while let Some(at) = code[from..].find(root).map(|at| at + from) {
            let end = code[at..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).map_or(code.len(), |end| end + at);
            // Before a brace it is the beginning of a `use` tree, which has been read above.
            if !code[end..].starts_with('{') {
                found.push((line_of(at), code[at..end].trim_end_matches(':').to_owned()));
            }
            from = end.max(at + root.len());
        }
    }
    found
}

fn flatten(prefix: &str, tree: &str, each: &mut impl FnMut(String)) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or(tree).trim();
        each(format!("{prefix}{name}").trim_end_matches("::self").to_owned());
        return;
    };
    let prefix = format!("{prefix}{}", &tree[..open]);
    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inner[start..at].trim();
                if !part.is_empty() {
                    flatten(&prefix, part, each);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// All modules of the crate: `core::traffic` is `core/traffic.rs` or `core/traffic/mod.rs`.
struct House {
    root: PathBuf,
    files: BTreeMap<Vec<String>, PathBuf>,
}

/// An import of one module by another.
struct Arrow {
    file: PathBuf,
    line: usize,
    from: String,
    to: String,
    named: String,
}

impl House {
    fn of(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        for path in all_files(root).into_iter().filter(|path| !is_test(path)) {
            let inner = path.strip_prefix(root).unwrap().with_extension("");
            let mut module: Vec<String> = inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.last().is_some_and(|last| last == "mod" || last == "lib") {
                module.pop();
            }
            files.insert(module, path);
        }
        Self { root: root.to_owned(), files }
    }

    /// The module that a path, written in `here`, leads to.
    fn target(&self, here: &[String], path: &str) -> Option<Vec<String>> {
        let mut base = here.to_vec();
        let mut parts = path.split("::").peekable();
        match parts.peek().copied()? {
            "crate" => {
                base.clear();
                parts.next();
            }
            "self" => drop(parts.next()),
            "super" => {}
            _ => return None,
        }
        while parts.peek() == Some(&"super") {
            parts.next();
            base.pop();
        }
        let mut best = self.files.contains_key(&base).then(|| base.clone());
        for part in parts {
            base.push(part.to_owned());
            if self.files.contains_key(&base) {
                best = Some(base.clone());
            }
        }
        best.filter(|module| module.as_slice() != here && !module.is_empty())
    }

    fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (module, path) in &self.files {
            let text = code(&fs::read_to_string(path).unwrap());
            for (line, named) in paths(&text) {
                let Some(to) = self.target(module, &named) else { continue };
                let file = Path::new("src").join(path.strip_prefix(&self.root).unwrap());
                arrows.push(Arrow { file, line, from: module.join("/"), to: to.join("/"), named });
            }
        }
        arrows
    }
}

fn all_files(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.ends_with("tests.rs")
        || text.contains("/tests/")
        || text.contains("_tests/")
        || text.contains("/core/model")
        || text.ends_with("histories.rs")
}

/// Files that import each other in a circle.
fn circles(arrows: &[Arrow]) -> Vec<BTreeSet<String>> {
    let mut out: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for arrow in arrows {
        out.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    let reach = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(one) = open.pop() {
            for next in out.get(one).into_iter().flatten() {
                if seen.insert(*next) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = out.keys().map(|file| (*file, reach(file))).collect();
    let mut found: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    for (file, all) in &reached {
        let circle: BTreeSet<String> =
            all.iter().filter(|other| reached.get(*other).is_some_and(|back| back.contains(file))).map(|file| (*file).to_owned()).collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn no_room_imports_from_beside_or_above() {
    let mut wrong = Vec::new();
    for Arrow { file, line, from, to, named } in House::of(&source()).arrows() {
        let (here, there) = (room(&from), room(&to));
        if here != there && floor(here) <= floor(there) {
            wrong.push(format!("{}:{line}: {here} may not import {there} ({named})", file.display()));
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let found = circles(&House::of(&source()).arrows());
    let known: Vec<BTreeSet<String>> = TOLERATED.iter().map(|circle| circle.iter().map(|file| (*file).to_owned()).collect()).collect();
    let new: Vec<_> = found.iter().filter(|circle| !known.iter().any(|known| known.is_superset(circle))).collect();
    assert!(new.is_empty(), "{new:#?}");
    let spare: Vec<_> = known.iter().filter(|known| !found.contains(known)).collect();
    assert!(spare.is_empty(), "shorten TOLERATED, because of these a part or all is no circle any more: {spare:#?}");
}

#[test]
fn a_file_holds_one_idea() {
    let root = source();
    let lines = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let name = |path: &PathBuf| format!("src/{}", path.strip_prefix(&root).unwrap().display());
    let long: BTreeMap<String, usize> =
        all_files(&root).iter().map(|path| (name(path), lines(path))).filter(|(_, lines)| *lines > LONG).collect();
    let new: Vec<_> = long.iter().filter(|(name, _)| !TOO_LONG.iter().any(|(known, _)| known == name)).collect();
    assert!(new.is_empty(), "more than {LONG} lines: {new:?}");
    let spare: Vec<_> = TOO_LONG.iter().filter(|(name, _)| !long.contains_key(*name)).collect();
    assert!(spare.is_empty(), "take these off TOO_LONG: {spare:?}");
}

#[test]
fn the_core_names_no_client_no_clock_and_nothing_async() {
    let mut found = Vec::new();
    for path in all_files(&source().join("core")).iter().filter(|path| !is_test(path)) {
        let text = code(&fs::read_to_string(path).unwrap());
        for (number, line) in text.lines().enumerate() {
            found.extend(
                IMPURE.iter().filter(|word| line.contains(**word)).map(|word| format!("{}:{}: {word}", path.display(), number + 1)),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_map_of_the_core_names_every_folder() {
    let root = source().join("core");
    let map = fs::read_to_string(root.join("mod.rs")).unwrap();
    let docs: String = map.lines().filter(|line| line.starts_with("//!")).collect();
    let folders = fs::read_dir(&root).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.join("mod.rs").is_file());
    let names = folders.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).filter(|name| name != "tests");
    let missing: Vec<String> = names.filter(|name| !docs.contains(&format!("[`{name}`]"))).collect();
    assert!(missing.is_empty(), "src/core/mod.rs says nothing of {missing:?}");
}

#[test]
fn the_rule_finds_what_breaks_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("core/facts/mod.rs", "use crate::{controller::run, core::view::View};\n");
    write("core/view/mod.rs", "//! Of `use crate::cli`.\nuse super::facts::Facts;\nconst A: &str = \"crate::cli\";\n");
    write("controller/run.rs", "fn run() {\n    crate::core::view::of()\n}\n");
    write("cli/mod.rs", "");
    let arrows = House::of(folder.path()).arrows();
    let said: BTreeSet<String> = arrows.iter().map(|Arrow { line, from, to, .. }| format!("{from}:{line} {to}")).collect();
    assert_eq!(
        Vec::from_iter(said),
        ["controller/run:2 core/view", "core/facts:1 controller/run", "core/facts:1 core/view", "core/view:2 core/facts"]
    );
    let circle = circles(&arrows);
    assert_eq!(circle.len(), 1);
    assert_eq!(Vec::from_iter(&circle[0]), ["controller/run", "core/facts", "core/view"]);
}
