//! A create whose answer was lost: searching for what it may have left behind. Where several parties fit, other
//! records' creates without outcome say which of them are not ours.

use shared::fault::Fault;
use shared::flow::Run;
use shared::intent;

use super::party::Party;
use super::plan::CreateIntent;
use super::sides::RemoteSide;
use super::{Parties, map};

/// Intents that are read at a time.
const PAGE: u32 = 100;

/// What became of a create without outcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// This party.
    Found(i64),
    /// Nothing.
    Nothing,
}

impl Parties {
    pub(super) async fn search_lost(
        &self,
        run: &Run,
        intent: &CreateIntent,
        is_supposed: bool,
    ) -> Result<Lost, Fault> {
        let wanted = &intent.party;
        let search = if is_supposed { map::search_namesakes(wanted) } else { map::search(wanted) };
        let mut found = Vec::new();
        for party in self.advoware.search(&search).await? {
            let side = map::remote_side(&party, &self.table, None)?;
            if is_supposed && map::is_namesake(&side, wanted) || map::is_candidate(&side, wanted) {
                found.push(side);
            }
        }
        if !found.is_empty() {
            let keys: Vec<i64> = found.iter().map(|side| side.bet_nr).collect();
            let taken = self.taken(&keys, run.key.id()).await?;
            found.retain(|side| !taken.contains(&side.bet_nr));
        }
        if found.is_empty() {
            return Ok(Lost::Nothing);
        }
        let (same, by_name): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|side| map::is_candidate(side, wanted));
        let settled = match same.as_slice() {
            [] => Err(by_name.iter().map(|side| side.bet_nr).collect()),
            [one] => Ok(Lost::Found(one.bet_nr)),
            several if is_supposed => Err(several.iter().map(|side| side.bet_nr).collect()),
            several => choose(several, wanted, &self.creates_of_others(run, wanted).await?),
        };
        settled.map_err(|keys: Vec<i64>| self.ambiguous(run, same.is_empty(), &keys))
    }

    /// What creates of other records without outcome asked for, as far as the same search finds it. Whose key is
    /// known already holds a claim to it.
    async fn creates_of_others(&self, run: &Run, wanted: &Party) -> Result<Vec<Party>, Fault> {
        let (mut others, mut after) = (Vec::new(), None::<String>);
        loop {
            let flow = run.key.flow();
            let page = intent::page::<CreateIntent>(&*self.state, flow, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(others) };
            after = Some(last.clone());
            let lost = page
                .into_iter()
                .filter(|(id, intent)| id != run.key.id() && intent.what.bet_nr.is_none())
                .map(|(_, intent)| intent.what.party);
            others.extend(lost.filter(|party| map::search(party) == map::search(wanted)));
        }
    }

    fn ambiguous(&self, run: &Run, is_by_name: bool, keys: &[i64]) -> Fault {
        let why = if is_by_name {
            "The state store was lost, perhaps while a create in Advoware was under way, and parties there of the same \
             name are linked to nobody"
        } else {
            "The answer to a create in Advoware was lost, and several parties there fit that are linked to nobody"
        };
        let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
        let text = format!(
            "{why}: betNr {}. Enter the right one as betnr of {} {}; where none is, create the party there and \
             enter its betNr.",
            keys.join(", "),
            self.entity_type,
            run.key.id()
        );
        Fault::permanent("lost_create_ambiguous", text)
    }
}

/// Which of several parties that fit is what our create left behind; else those that may be. What holds all that
/// other creates asked for is theirs, and what several creates asked for alike is any one's of them: but only where
/// no more parties hold it than creates asked for it. Else a person made one of them.
fn choose(found: &[RemoteSide], wanted: &Party, others: &[Party]) -> Result<Lost, Vec<i64>> {
    let holds = |side: &RemoteSide, asked: &Party| side.party(None, Some(asked)).masked() == *asked;
    let explained = |asked: &Party| {
        let creates = others.iter().chain([wanted]).filter(|other| *other == asked).count();
        found.iter().filter(|side| holds(side, asked)).count() <= creates
    };
    let is_theirs = |side: &RemoteSide| {
        !holds(side, wanted) && others.iter().any(|other| holds(side, other) && explained(other))
    };
    let left: Vec<&RemoteSide> = found.iter().filter(|side| !is_theirs(side)).collect();
    match left.as_slice() {
        [] => Ok(Lost::Nothing),
        [one] => Ok(Lost::Found(one.bet_nr)),
        [first, ..] if explained(wanted) && left.iter().all(|side| holds(side, wanted)) => {
            Ok(Lost::Found(first.bet_nr))
        }
        several => Err(several.iter().map(|side| side.bet_nr).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::communications::Remote;
    use super::super::party::{Identity, Kind};
    use super::*;

    fn party(legal_form: &str) -> Party {
        let identity = Identity {
            kind: Kind::Person,
            name: Some("Lee".to_owned()),
            first_name: Some("Anna".to_owned()),
        };
        let legal_form = Some(legal_form.to_owned());
        Party { identity, legal_form, salutation: None, birth_date: None, register_number: None }
    }

    /// Parties of these keys and legal forms.
    fn found(parties: &[(i64, &str)]) -> Vec<RemoteSide> {
        let side = |(bet_nr, legal_form): &(i64, &str)| RemoteSide {
            bet_nr: *bet_nr,
            row_id: None,
            name: Some("Lee".to_owned()),
            first_name: Some("Anna".to_owned()),
            legal_form: Some((*legal_form).to_owned()),
            salutation: None,
            birth_date: None,
            register_number: None,
            communications: Remote::default(),
            changed_at: None,
        };
        parties.iter().map(side).collect()
    }

    fn chosen(parties: &[(i64, &str)], others: &[&str]) -> Result<Lost, Vec<i64>> {
        let others: Vec<Party> = others.iter().map(|legal_form| party(legal_form)).collect();
        choose(&found(parties), &party("AG"), &others)
    }

    #[test]
    fn what_another_create_asked_for_is_not_ours() {
        assert_eq!(chosen(&[(1, "GmbH"), (2, "AG")], &["GmbH"]), Ok(Lost::Found(2)));
        // Edited since, ours is still the one that nobody else asked for.
        assert_eq!(chosen(&[(1, "GmbH"), (2, "KG")], &["GmbH"]), Ok(Lost::Found(2)));
        assert_eq!(chosen(&[(1, "GmbH"), (2, "KG")], &["GmbH", "KG"]), Ok(Lost::Nothing));
    }

    #[test]
    fn of_what_several_creates_asked_for_alike_each_takes_one() {
        assert_eq!(chosen(&[(1, "AG"), (2, "AG")], &["AG"]), Ok(Lost::Found(1)));
        assert_eq!(chosen(&[(1, "GmbH"), (2, "AG"), (3, "AG")], &["AG", "GmbH"]), Ok(Lost::Found(2)));
    }

    #[test]
    fn what_a_person_may_have_made_is_left_to_a_person() {
        assert_eq!(chosen(&[(1, "GmbH"), (2, "AG")], &[]), Err(vec![1, 2]));
        assert_eq!(chosen(&[(1, "AG"), (2, "AG")], &["GmbH"]), Err(vec![1, 2]));
        assert_eq!(chosen(&[(1, "AG"), (2, "AG"), (3, "AG")], &["AG"]), Err(vec![1, 2, 3]));
        assert_eq!(chosen(&[(1, "GmbH"), (2, "GmbH")], &["GmbH"]), Err(vec![1, 2]));
    }
}
