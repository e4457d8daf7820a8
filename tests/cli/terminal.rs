//! A watch on a terminal: drawn anew where the terminal can, whatever it thinks of colours, and line by line where it cannot.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use stepgate::sim::Http;

use crate::desk::{Desk, halves};

/// The start of a drawing over the one before it.
const OVER: &str = "A\u{1b}[J";

/// `status -w` on a terminal, with this in its environment, until it has shown what is looked for, at most for so many seconds. None where
/// the machine has no terminals to give.
fn shown(kubeconfig: &Path, environment: &[(&str, &str)], seconds: u32, is_enough: fn(&str) -> bool) -> Option<String> {
    let command = format!(
        "stty cols 80 rows 24; exec timeout --foreground {seconds} '{}' status hello -w --kubeconfig '{}'",
        env!("CARGO_BIN_EXE_stepgate"),
        kubeconfig.display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env_remove("NO_COLOR").env("TERM", "xterm").envs(environment.iter().copied());
    let Ok(mut child) = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn() else {
        println!("SKIPPED: no `script`, which gives a terminal");
        return None;
    };
    let (mut text, mut piece, mut output) = (String::new(), [0; 4096], child.stdout.take().unwrap());
    while !is_enough(&text) {
        match output.read(&mut piece).unwrap() {
            0 => break,
            read => text.push_str(&String::from_utf8_lossy(&piece[..read])),
        }
    }
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().unwrap();
    Some(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_drawn_anew_without_colours_too_and_line_by_line_on_a_dumb_terminal() {
    let desk = Desk::without_controller(&halves()).await;
    let (http, folder) = (Http::bind(0).await.unwrap(), tempfile::tempdir().unwrap());
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, http.kubeconfig()).unwrap();
    let (sim, is_redrawn) = (desk.sim.clone(), |text: &str| text.contains(OVER));
    let served = tokio::spawn(async move { http.run(sim).await });

    let Some(text) = shown(&kubeconfig, &[], 30, is_redrawn) else { return };
    assert!(is_redrawn(&text) && text.contains("\u{1b}[1m"), "{text:?}");
    let text = shown(&kubeconfig, &[("NO_COLOR", "1")], 30, is_redrawn).unwrap();
    assert!(is_redrawn(&text) && !text.contains("\u{1b}[1m"), "{text:?}");
    let text = shown(&kubeconfig, &[("TERM", "dumb")], 8, |_| false).unwrap();
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert_eq!(text.matches("hello: no controller has looked at it yet").count(), 1, "{text:?}");
    served.abort();
}
