//! `plan`: what a sync would write, field by field.

use std::path::Path;
use std::process::ExitCode;

use shared::fault::cut;
use shared::flow::Preview;

use crate::cli::PlanArgs;
use crate::operator;
use crate::output::{self, Outcome};

/// Longest value shown in a table, in characters; `--json` has all of it.
const VALUE_CHARS_MAX: usize = 60;

/// Runs the command.
pub async fn run(file: Option<&Path>, args: &PlanArgs) -> Outcome {
    let (_, parts) = operator::visit(file)?;
    let flow = operator::flow(&parts, &args.record.flow)?;
    let key = operator::key(&args.record)?;
    let preview =
        operator::preview(flow.as_ref(), &key, parts.clock.now()).await.map_err(operator::upstream_failed)?;
    if args.json {
        output::json(&preview);
    } else {
        output::line(text(&preview));
    }
    Ok(ExitCode::SUCCESS)
}

/// A preview for people.
pub fn text(preview: &Preview) -> String {
    if preview.differences.is_empty() {
        return format!("{}\n", preview.summary);
    }
    let shown = |value: &Option<String>| match value {
        None => "(empty)".to_owned(),
        Some(text) => format!("{:?}", cut(text, VALUE_CHARS_MAX)),
    };
    let rows = preview.differences.iter().map(|difference| {
        [
            difference.system.clone(),
            difference.field.clone(),
            shown(&difference.present),
            shown(&difference.planned),
        ]
    });
    let table = output::table(["WRITE TO", "FIELD", "PRESENT", "PLANNED"], rows);
    format!("{}\n\n{table}", preview.summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::flow::Difference;

    #[test]
    fn a_preview_is_a_sentence_and_a_table() {
        let difference =
            |system: &str, field: &str, present: Option<&str>, planned: Option<&str>| Difference {
                system: system.into(),
                field: field.into(),
                present: present.map(str::to_owned),
                planned: planned.map(str::to_owned),
            };
        let preview = Preview {
            summary: "Both sides changed different fields: merge.".into(),
            differences: vec![
                difference("advoware", "vorname", Some("Ann"), Some("Anna Maria")),
                difference("espocrm", "rechtsform", None, Some("GmbH")),
            ],
        };
        insta::assert_snapshot!(text(&preview), @r#"
        Both sides changed different fields: merge.

        WRITE TO  FIELD       PRESENT  PLANNED
        advoware  vorname     "Ann"    "Anna Maria"
        espocrm   rechtsform  (empty)  "GmbH"
        "#);
        let nothing = Preview { summary: "Both sides agree.".into(), differences: Vec::new() };
        assert_eq!(text(&nothing), "Both sides agree.\n");
    }
}
