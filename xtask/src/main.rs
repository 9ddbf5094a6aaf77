//! `cargo xtask`: the checks and tests of this repository, with nothing but cargo to install first.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

mod bench;
mod calendar;
mod chaos;
mod check;
mod deny;
mod directory;
mod model;
mod points;
mod properties;
mod python;
mod run;
mod test;
mod tidy;
mod variables;

use std::process::ExitCode;

use run::{Failure, Outcome};

const HELP: &str = "\
cargo xtask <command>

  test [arguments of cargo test]  install RabbitMQ, Redis, the vendors' client libraries, a SCIM server and a conformance
                                  client for SCIM (Python) if missing, build the programs, run all tests
  bench [--quick] [measures]      the measures, against the programs of the release profile
  chaos [--minutes N] [--seed S] [--case NAME]
                                  the chaos suite in its long form, for an hour where nothing is said
  model [--seeds N] [--fleet-seeds N] [--seed S]
                                  random edits of parties with their phone numbers and mail addresses, 1000 seeds in
                                  one process and 50 by real programs where nothing is said
  calendar [--days N] [--users N] [--meetings N] [--seed S]
                                  a scripted time of Outlook and Google calendars, a year of 50 users with 20,000
                                  meetings where nothing is said
  directory [--departments N] [--seeds N] [--seed S]
                                  an import of departments that is told of leaves first, 5,000 with three seeds where
                                  nothing is said
  properties [--seeds N] [--seed S]
                                  all unit tests with other seeds for what is tried by chance, ten where nothing is said
  check                           formatting, clippy, documentation, tidy, deny, no labelled points in releases
  tidy                            the rules of this repository that no other tool knows
  deny                            licences, sources, versions and advisories of the dependencies
  ci                              check, then test
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match command(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            eprintln!("\nFAILED: {message}");
            ExitCode::FAILURE
        }
    }
}

fn command(args: &[String]) -> Outcome {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test", rest @ ..] => test::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["chaos", rest @ ..] => chaos::run(rest),
        ["model", rest @ ..] => model::run(rest),
        ["calendar", rest @ ..] => calendar::run(rest),
        ["directory", rest @ ..] => directory::run(rest),
        ["properties", rest @ ..] => properties::run(rest),
        ["check"] => check::run(),
        ["tidy"] => tidy::run(),
        ["deny"] => deny::run(),
        ["ci"] => check::run().and_then(|()| test::run(&[])),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Failure(format!("unknown command: {}\n\n{HELP}", other.join(" ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(
            command(&["tests".to_owned()]).is_err_and(|Failure(text)| text.contains("cargo xtask <command>"))
        );
        assert!(command(&["tidy".to_owned(), "--fix".to_owned()]).is_err());
    }
}
