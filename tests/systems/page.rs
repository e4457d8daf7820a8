//! A page: its commands in order, and the places of what they printed.

use std::{fs, ops::Range, path::PathBuf};

/// The commands of one fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins: `docs/systems/journal.md:12`.
    pub at: String,
    /// The section that it is in: `By hand`.
    pub section: String,
    pub commands: String,
    /// The most requests that may fail meanwhile, as the page says: `<!-- failed: at most 25 -->`.
    pub may_fail: usize,
    /// The lines of the block behind it that holds what the commands printed, if there is one.
    pub transcript: Option<Range<usize>>,
}

/// The folder of the pages.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/systems")
}

/// The file of a page.
pub fn file(name: &str) -> PathBuf {
    folder().join(format!("{name}.md"))
}

/// The text of a page.
pub fn text(name: &str) -> String {
    let file = file(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The blocks of commands in the text of a page.
pub fn blocks(name: &str, text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut blocks, mut section, mut may_fail, mut line) = (Vec::<Block>::new(), String::new(), 0, 0);
    while line < lines.len() {
        let begin = line + 1;
        if let Some(title) = lines[line].strip_prefix("## ") {
            title.clone_into(&mut section);
        } else if let Some(bound) = lines[line].strip_prefix("<!-- failed: at most ").and_then(|rest| rest.strip_suffix(" -->")) {
            may_fail = bound.parse().unwrap_or_else(|_| panic!("docs/systems/{name}.md:{begin}: not a number: {bound:?}"));
        } else if let Some(kind) = lines[line].strip_prefix("```") {
            let length = lines[begin..].iter().position(|line| *line == "```");
            let end = begin + length.unwrap_or_else(|| panic!("docs/systems/{name}.md:{begin}: a block without an end"));
            match kind {
                "sh" => {
                    let commands = lines[begin..end].join("\n");
                    let at = format!("docs/systems/{name}.md:{begin}");
                    blocks.push(Block { at, section: section.clone(), commands, may_fail, transcript: None });
                    may_fail = 0;
                }
                "text" => {
                    let before = blocks.last_mut().filter(|block| block.transcript.is_none());
                    let before =
                        before.unwrap_or_else(|| panic!("docs/systems/{name}.md:{begin}: what is printed, and nothing that prints it"));
                    before.transcript = Some(begin..end);
                }
                "yaml" => {}
                other => panic!("docs/systems/{name}.md:{begin}: a block of a kind that is not known: {other:?}"),
            }
            line = end;
        }
        line += 1;
    }
    blocks
}

/// The page with these transcripts, given from its beginning to its end.
pub fn with_transcripts(text: &str, printed: &[(Range<usize>, String)]) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for (place, printed) in printed.iter().rev() {
        lines.splice(place.clone(), printed.lines());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# Title\n## By hand\n<!-- failed: at most 7 -->\n```sh\nls\npwd\n```\nIt says\n\n```text\nold\n```\n\n## Next\n```sh\ntrue\n```\n";

    #[test]
    fn a_block_knows_its_section_its_bound_and_the_place_of_what_it_prints() {
        let found = blocks("page", PAGE);
        assert_eq!((found[0].section.as_str(), found[0].commands.as_str(), found[0].may_fail), ("By hand", "ls\npwd", 7));
        assert_eq!((found[1].section.as_str(), found[1].may_fail, &found[1].transcript), ("Next", 0, &None));
    }

    #[test]
    fn a_transcript_takes_the_place_of_the_one_before() {
        let place = blocks("page", PAGE)[0].transcript.clone().unwrap();
        assert_eq!(with_transcripts(PAGE, &[(place, "new\nlines\n".into())]), PAGE.replace("old", "new\nlines"));
    }
}
