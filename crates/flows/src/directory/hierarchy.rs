//! How the tree is shown where the settings leave that to the target: the target is asked once, before anything is written, and
//! its answer is kept. What it says later changes nothing: every group would get another name, and other members.

use serde::{Deserialize, Serialize};
use shared::fault::Fault;
use shared::flow::{Check, Verdict};

use super::flow::DirectoryFlow;
use super::rules::{Hierarchy, Rules};

/// What was chosen, for all processes and for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chosen {
    pub(super) hierarchy: Hierarchy,
}

/// What a target's word leads to. One that says nothing is taken to nest, as the standard has it.
fn choose(nesting_told: Option<bool>) -> Chosen {
    let hierarchy = if nesting_told == Some(false) { Hierarchy::Flat } else { Hierarchy::Nested };
    Chosen { hierarchy }
}

impl DirectoryFlow {
    /// What runs and sweeps go by. Where the hierarchy has to be chosen first, it is: a target or store that does not answer
    /// fails the run, and nothing is chosen.
    ///
    /// # Errors
    /// As the target's and the store's.
    pub(super) async fn rules(&self) -> Result<&Rules, Fault> {
        let Some(unless_nested) = &self.settings.unless_nested else { return Ok(&self.settings.rules) };
        let chosen = self.chosen.get_or_try_init(|| self.choose_for_good()).await?;
        Ok(self.rules_of(*chosen, unless_nested))
    }

    /// The same for who only looks: as it is chosen, or would be now. Nothing is kept.
    ///
    /// # Errors
    /// As the target's and the store's.
    pub(super) async fn rules_to_look(&self) -> Result<&Rules, Fault> {
        let Some(unless_nested) = &self.settings.unless_nested else { return Ok(&self.settings.rules) };
        let chosen = match self.documents.hierarchy().await? {
            Some(chosen) => chosen,
            None => choose(self.target.nesting_told().await?),
        };
        Ok(self.rules_of(chosen, unless_nested))
    }

    /// What is looked at in the target for the hierarchy; where the target chose it, that is said.
    pub(super) async fn hierarchy_to_check(&self) -> (Hierarchy, Option<Check>) {
        let subject = "directory hierarchy".to_owned();
        match self.rules_to_look().await {
            Ok(rules) => {
                let seen = match rules.hierarchy {
                    Hierarchy::Nested => return (rules.hierarchy, None),
                    Hierarchy::Flat | Hierarchy::Rollup => format!(
                        "flat, by the word of {}: it takes no groups in groups",
                        self.target.product()
                    ),
                };
                let check = self.settings.unless_nested.is_some().then(|| Check {
                    subject,
                    verdict: Verdict::Well,
                    seen,
                    remedy: String::new(),
                });
                (rules.hierarchy, check)
            }
            // Looked at as flat, so that nothing is tried out in a target that cannot be asked.
            Err(fault) => {
                let (seen, remedy) = (format!("not known yet: {}", fault.code), fault.text);
                (Hierarchy::Flat, Some(Check { subject, verdict: Verdict::Broken, seen, remedy }))
            }
        }
    }

    fn rules_of<'a>(&'a self, chosen: Chosen, unless_nested: &'a Rules) -> &'a Rules {
        match chosen.hierarchy {
            Hierarchy::Nested => &self.settings.rules,
            Hierarchy::Flat | Hierarchy::Rollup => unless_nested,
        }
    }

    async fn choose_for_good(&self) -> Result<Chosen, Fault> {
        if let Some(chosen) = self.documents.hierarchy().await? {
            return Ok(chosen);
        }
        let chosen = choose(self.target.nesting_told().await?);
        if self.documents.save_hierarchy(&chosen).await? {
            tracing::info!(hierarchy = ?chosen.hierarchy, "The hierarchy of the directory is chosen, as the target says what it takes.");
            return Ok(chosen);
        }
        // Another process was first: what that one chose is what counts.
        let text =
            "Another process chose the hierarchy of the directory at the same moment; the next run reads it.";
        let busy = Fault::new(
            shared::fault::FaultKind::Busy { after: std::time::Duration::from_secs(1) },
            "hierarchy_busy",
            text,
        );
        self.documents.hierarchy().await?.ok_or(busy)
    }
}
