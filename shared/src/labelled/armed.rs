//! The points as the chaos suite has them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::LazyLock;

/// One allocation of a handler that allocates without end.
const PORTION_BYTES: usize = 16 * 1024 * 1024;

/// What the variable says, read once and kept until the process ends.
static ARMED: LazyLock<()> = LazyLock::new(|| {
    std::mem::forget(fail::FailScenario::setup());
    note("armed");
});

pub(super) fn reach(label: &'static str) {
    if word(label).as_deref() == Some("kill") {
        note(label);
        // No destructor runs and nothing is flushed, as with SIGKILL.
        std::process::abort();
    }
}

#[expect(clippy::panic, reason = "what is asked for")]
pub(super) fn handle(label: &'static str, id: &str) {
    let Some(words) = word(label) else { return };
    let mut pairs = words.split(',').filter_map(|word| word.split_once(':'));
    let Some((kind, _)) = pairs.find(|(_, chosen)| *chosen == id) else { return };
    note(label);
    match kind {
        "panic" => panic!("told to panic at {label}"),
        "allocate" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; PORTION_BYTES]);
            }
        }
        "loop" => loop {
            std::hint::spin_loop();
        },
        _ => {}
    }
}

pub(super) fn number(label: &'static str, usual: i64) -> i64 {
    let Some(word) = word(label) else { return usual };
    let text = if word.starts_with('/') { std::fs::read_to_string(&word).unwrap_or_default() } else { word };
    text.trim().parse().unwrap_or(usual)
}

fn word(label: &'static str) -> Option<String> {
    LazyLock::force(&ARMED);
    eval(label)
}

fn eval(label: &'static str) -> Option<String> {
    fail::fail_point!(label, |word| word);
    None
}

/// One write each, so that lines of several processes do not mix.
fn note(text: &str) {
    let Some(path) = eval("hits") else { return };
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        // A hit that cannot be noted fails the case that counts it.
        let _ = file.write_all(format!("{text}\n").as_bytes());
    }
}
