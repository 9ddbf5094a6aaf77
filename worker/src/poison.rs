//! Messages that killed their workers: the queue itself buries those, and knows no marks.

use std::collections::HashSet;

use operations::dead_letters::{Filter, LETTERS_MAX};
use shared::dead_letter::Reason;
use shared::dead_mark;
use shared::ports::PortError;
use uuid::Uuid;

use crate::run::Engine;

/// Marks their records, so that sweeps leave them alone and a later success closes their letters. `marked` are
/// those that were marked before.
pub async fn mark(engine: &Engine, marked: &mut HashSet<Uuid>) -> Result<(), PortError> {
    let filter = Filter { reason: Some(Reason::Poison), ..Filter::default() };
    let open = engine.desk.list(&filter, 0, LETTERS_MAX).await?.letters;
    marked.retain(|id| open.iter().any(|letter| letter.id == *id));
    for letter in open {
        let Some(key) = letter.key.filter(|_| !marked.contains(&letter.id)) else { continue };
        dead_mark::add(engine.state.as_ref(), &key, letter.id, letter.at).await?;
        marked.insert(letter.id);
    }
    Ok(())
}
