//! Samples, as tables and as BENCHMARKS.md.

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Duration};

/// The page around the tables.
const PAGE: &str = include_str!("page.md");

/// What belongs together on the page, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Limit,
    WaysBack,
    Releases,
    AtRest,
}

impl Group {
    const ALL: [Self; 4] = [Self::Limit, Self::WaysBack, Self::Releases, Self::AtRest];

    fn heading(self) -> &'static str {
        match self {
            Self::Limit => "The same by hand",
            Self::WaysBack => "Ways back",
            Self::Releases => "Releases",
            Self::AtRest => "At rest",
        }
    }
}

/// What was measured of one thing.
pub struct Row {
    pub what: &'static str,
    /// What design and issue ask for, in words.
    pub bar: &'static str,
    /// The best peer on the same kind of node, in words.
    pub peer: &'static str,
    pub samples: Vec<Sample>,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub enum Sample {
    Time(Duration),
    Count(u32),
    /// Of a million bytes.
    Megabytes(f64),
    Percent(f64),
}

impl Sample {
    fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Count(count) => f64::from(count),
            Self::Megabytes(number) | Self::Percent(number) => number,
        }
    }

    fn with(self, number: f64) -> String {
        match self {
            Self::Time(_) if number < 1.0 => format!("{:.0} ms", number * 1000.0),
            Self::Time(_) => format!("{number:.2} s"),
            Self::Count(_) => format!("{number:.0}"),
            Self::Megabytes(_) => format!("{number:.1} MB"),
            Self::Percent(_) => format!("{number:.2} %"),
        }
    }
}

/// The value that so many percent of the samples do not exceed: the nearest rank.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(percent * sorted.len()).div_ceil(100).clamp(1, sorted.len()) - 1]
}

/// Markdown: a heading and a table for each group that was measured.
pub fn tables(sections: &[(Group, Vec<Row>)]) -> String {
    let tables = Group::ALL.iter().filter_map(|group| {
        let rows: Vec<&Row> = sections.iter().filter(|(of, _)| of == group).flat_map(|(_, rows)| rows).collect();
        (!rows.is_empty()).then(|| format!("## {}\n\n{}", group.heading(), table(&rows)))
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// A line a row.
fn table(rows: &[&Row]) -> String {
    let mut text = String::from("| what | n | p50 | p99 | max | asked for | best peer |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let Some(first) = row.samples.first() else {
            writeln!(text, "| {} | 0 | not measured | | | {} | {} |", row.what, row.bar, row.peer).expect("a String takes all");
            continue;
        };
        let mut sorted: Vec<f64> = row.samples.iter().map(|sample| sample.number()).collect();
        sorted.sort_by(f64::total_cmp);
        let [median, most, max] = [50, 99, 100].map(|percent| first.with(percentile(&sorted, percent)));
        writeln!(text, "| {} | {} | {median} | {most} | {max} | {} | {} |", row.what, sorted.len(), row.bar, row.peer)
            .expect("a String takes all");
    }
    text
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// Writes BENCHMARKS.md with these tables.
pub fn write(tables: &str, runs: usize) {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: u64 = memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let made = format!(
        "{}, commit {}, {cores} cores, {} GiB, Linux {}, load average at the end {}, {runs} runs",
        jiff::Timestamp::now().strftime("%Y-%m-%d"),
        output("git", &["rev-parse", "--short", "HEAD"]),
        memory / (1024 * 1024),
        output("uname", &["-r"]),
        load.split_whitespace().next().unwrap_or("?"),
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("BENCHMARKS.md");
    fs::write(&path, PAGE.replace("{{made}}", &made).replace("{{tables}}", tables)).expect("BENCHMARKS.md");
}
