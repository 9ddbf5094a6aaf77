//! `health`: asks a running program whether it is well.

use std::process::ExitCode;
use std::time::Duration;

use assembly::program::EXIT_USAGE;

use crate::cli::HealthArgs;
use crate::http;
use crate::output::{self, EXIT_WRONG, Outcome, fail};

/// Most characters of the answer that are printed.
const ANSWER_CHARS_MAX: usize = 4_000;

/// Runs the command.
pub async fn run(args: &HealthArgs) -> Outcome {
    let url: reqwest::Url = args
        .url
        .parse()
        .map_err(|error| fail(EXIT_USAGE, format!("{} is no address ({error})", args.url)))?;
    let asked = async {
        let client = http::client(Duration::from_secs(args.timeout))?;
        let answer = client.get(url).send().await?;
        let status = answer.status();
        Ok::<_, reqwest::Error>((status, answer.text().await?))
    };
    let (status, text) = asked
        .await
        .map_err(|error| fail(EXIT_WRONG, format!("{} does not answer: {}", args.url, root_cause(&error))))?;
    output::line(shared::fault::cut(text.trim_end(), ANSWER_CHARS_MAX));
    if status.is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(fail(EXIT_WRONG, format!("{} answers {status}", args.url)))
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
