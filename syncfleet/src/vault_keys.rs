//! `vault`: keys for the secrets in the state store.

use std::path::Path;
use std::process::ExitCode;

use assembly::program::EXIT_UNAVAILABLE;
use secrecy::ExposeSecret as _;
use serde_json::json;
use vault::{Key, Resealed};

use crate::cli::VaultCommand;
use crate::operator;
use crate::output::{self, EXIT_WRONG, Outcome, counted, fail};

/// Runs the command.
pub async fn run(file: Option<&Path>, command: &VaultCommand) -> Outcome {
    match command {
        VaultCommand::NewKey => {
            output::line(Key::generate().expose_secret());
            Ok(ExitCode::SUCCESS)
        }
        VaultCommand::RotateKey(args) => rotate(file, args.json).await,
    }
}

async fn rotate(file: Option<&Path>, json: bool) -> Outcome {
    let (_, parts) = operator::visit(file)?;
    let resealed =
        parts.vault.reseal_all().await.map_err(|error| fail(EXIT_UNAVAILABLE, error.to_string()))?;
    if json {
        output::json(&json!({
            "resealed": resealed.resealed,
            "present": resealed.present,
            "unreadable": resealed.unreadable,
            "unreadable_names": resealed.unreadable_names,
            "left": resealed.left,
            "complete": resealed.is_complete(),
        }));
    } else {
        output::line(text(&resealed));
    }
    Ok(ExitCode::from(if resealed.is_complete() { 0 } else { EXIT_WRONG }))
}

fn text(resealed: &Resealed) -> String {
    let secrets = |count: u64| counted(usize::try_from(count).unwrap_or(usize::MAX), "secret");
    let mut text = format!(
        "{} sealed anew with the present key, {} sealed with it before.\n",
        secrets(resealed.resealed),
        secrets(resealed.present)
    );
    if resealed.left > 0 {
        text.push_str(&format!("{} changed meanwhile: run this again.\n", secrets(resealed.left)));
    }
    if resealed.unreadable > 0 {
        text.push_str(&format!(
            "{} cannot be opened by any key that is configured, or is damaged, and stays as it is: {}. Name its key under \
             [vault.old_keys]; a webhook\'s secret is had anew by `syncfleet provision`, and an account is connected \
             again.\n",
            secrets(resealed.unreadable),
            resealed.unreadable_names.join(", ")
        ));
    }
    text.push_str(if resealed.is_complete() {
        "Nothing is sealed with a former key. Sign-ins that are under way are over in 15 minutes; then take the former keys \
         out of [vault.old_keys], and restart all programs. Connect links that were sent out before are good no longer \
         then.\n"
    } else {
        "Keep the former keys until this says that nothing remains.\n"
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_said_and_former_keys_are_kept_for_it() {
        let done = Resealed { resealed: 3, present: 1, ..Resealed::default() };
        let said = text(&done);
        assert!(
            said.contains("3 secrets sealed anew") && said.contains("take the former keys out"),
            "{said}"
        );
        let names = vec!["grant/google/user/anna".to_owned()];
        let said = text(&Resealed { unreadable: 1, unreadable_names: names, left: 2, ..done });
        for says in ["1 secret cannot", "google/user/anna", "2 secrets changed", "Keep the former keys"] {
            assert!(said.contains(says), "{says}: {said}");
        }
    }
}
