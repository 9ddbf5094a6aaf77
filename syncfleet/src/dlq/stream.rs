//! Export and watch.

use std::process::ExitCode;
use std::time::Duration;

use assembly::program::stop_on_signals;
use serde_json::{Value, json};
use shared::dead_letter::DeadLetter;

use super::args::{FilterArgs, WatchArgs};
use super::{Counter, text};
use crate::operator;
use crate::output::{self, Outcome};

/// How often it is looked for new letters.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// First wait after the queue or store did not answer; doubled each time.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest wait.
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Counter<'_> {
    /// A page at a time, so that memory does not depend on the number of letters.
    pub(super) async fn export(&self, args: &FilterArgs) -> Outcome {
        let filter = self.filter(args);
        let mut position = 0;
        loop {
            let news = self.desk.news(position, &filter).await.map_err(operator::port_failed)?;
            position = news.next;
            news.letters.iter().for_each(|letter| output::line(line(letter)));
            if news.at_end {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    pub(super) async fn watch(&self, args: &WatchArgs) -> Outcome {
        let stop = stop_on_signals();
        let filter = self.filter(&args.filter);
        let mut position = self.desk.end().await.map_err(operator::port_failed)?;
        output::note("Waiting for new dead letters; Ctrl-C ends it.");
        let mut pause = PAUSE;
        loop {
            let wait = match self.desk.news(position, &filter).await {
                Ok(news) => {
                    position = news.next;
                    pause = PAUSE;
                    for letter in &news.letters {
                        output::line(if args.json { line(letter) } else { text::line(letter) });
                    }
                    if news.at_end { LOOK_EVERY } else { Duration::ZERO }
                }
                Err(problem) => {
                    output::note(format!("{problem}; trying again in {} s", pause.as_secs()));
                    let wait = pause;
                    pause = (pause * 2).min(PAUSE_MAX);
                    wait
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// A letter as one line of JSON, its message as JSON where it is.
fn line(letter: &DeadLetter) -> String {
    let message = serde_json::from_str::<Value>(&letter.message);
    let mut value = json!(letter);
    if let (Ok(message), Some(object)) = (message, value.as_object_mut()) {
        object.insert("message".to_owned(), message);
    }
    value.to_string()
}
