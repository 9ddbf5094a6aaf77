//! The only place that prints: text, tables, JSON, progress bars.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;

use assembly::program::complain;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// How a command ended; `Err` after its reason was printed.
pub type Outcome = Result<ExitCode, ExitCode>;

/// Exit code where something was found wrong.
pub const EXIT_WRONG: u8 = 1;
/// Exit code where the output cannot be written (as `EX_IOERR`).
const EXIT_OUTPUT: i32 = 74;

/// Prints a complaint and answers the exit code to end with.
pub fn fail(code: u8, text: impl AsRef<str>) -> ExitCode {
    complain(&format!("syncfleet: {}", text.as_ref()));
    ExitCode::from(code)
}

/// Prints text and a line break. A reader that has gone away is no error; a full disk is.
pub fn line(text: impl AsRef<str>) {
    let text = text.as_ref();
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") }?;
        stdout.flush()
    });
    if let Err(problem) = written
        && problem.kind() != ErrorKind::BrokenPipe
    {
        complain(&format!("syncfleet: the output cannot be written: {problem}"));
        std::process::exit(EXIT_OUTPUT);
    }
}

/// Prints what goes on, on the error stream, so that the result alone is on the output.
pub fn note(text: impl AsRef<str>) {
    complain(text.as_ref());
}

/// Prints a value as JSON for scripts.
pub fn json(value: &impl Serialize) {
    // What is printed here are structs of text and numbers, which always have a JSON form.
    line(serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A table without lines, for people; wrapped to the terminal's width, not wrapped for a pipe.
pub fn table<const N: usize>(headers: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let width = io::stdout().is_terminal().then(|| console::Term::stdout().size().1);
    table_within(width, headers, rows)
}

fn table_within<const N: usize>(
    width: Option<u16>,
    headers: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    if headers.iter().any(|header| !header.is_empty()) {
        table.set_header(headers);
    }
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Whether a person watches.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Progress bars on the error stream; hidden when nobody watches.
pub fn bars() -> MultiProgress {
    let target = if is_watched() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    MultiProgress::with_draw_target(target)
}

/// One bar.
pub fn bar(bars: &MultiProgress, label: impl Into<String>, length: u64) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(length));
    // The template is a constant, and a test uses it.
    if let Ok(style) = ProgressStyle::with_template("  {prefix:<36} {bar:28.green/238} {pos:>5}/{len}") {
        bar.set_style(style.progress_chars("━━─"));
    }
    bar.set_prefix(label.into());
    bar
}

/// A last line below the bars that says what goes on.
pub fn ticker(bars: &MultiProgress) -> ProgressBar {
    let ticker = bars.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("  {spinner:.green} {msg}") {
        ticker.set_style(style);
    }
    ticker
}

/// `1 letter`, `2 letters`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_blanks_at_line_ends() {
        let rows = [["a".to_owned(), "b c".to_owned()], ["long word".to_owned(), String::new()]];
        insta::assert_snapshot!(table_within(None, ["ONE", "TWO"], rows), @r"
        ONE        TWO
        a          b c
        long word
        ");
    }

    #[test]
    fn a_table_fits_a_narrow_terminal() {
        let rows = [["subject".to_owned(), "a sentence that is too long for one line".to_owned()]];
        let text = table_within(Some(30), ["ONE", "TWO"], rows);
        assert!(text.lines().all(|line| line.chars().count() <= 30) && text.lines().count() > 2, "{text}");
    }

    #[test]
    fn the_templates_of_the_bars_are_understood() {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        bar(&bars, "created", 3).inc(1);
        ticker(&bars).set_message("working");
        for template in ["  {prefix:<36} {bar:28.green/238} {pos:>5}/{len}", "  {spinner:.green} {msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn one_thing_has_no_plural() {
        assert_eq!(
            (counted(1, "letter"), counted(0, "letter")),
            ("1 letter".to_owned(), "0 letters".to_owned())
        );
    }
}
