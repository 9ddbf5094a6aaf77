//! Who is whose manager: in a second pass, since leaders may come later, be unknown, or report to each other. Nobody
//! waits for a leader; who has none yet is looked at again when that one comes.

use super::action::{Action, Oddity, Verdict};
use super::deciding::{Deciding, Mode};
use super::ids::{ExternalId, MemberId, TargetId};
use super::key::Key;
use super::link::MemberLink;
use super::members::{save, update};
use super::need::Need;
use super::record::{Attributes, Field, Value};

/// Changes of a userid that are followed, one after the other.
const RENAMES_MAX: usize = 10;

impl Deciding<'_> {
    /// A member whose manager a message is about.
    pub(super) fn leader(&mut self, id: &MemberId) -> Result<Verdict, Need> {
        let Some(link) = self.known.member_link(id)?.filter(|link| link.ended.is_none()) else {
            return Ok(Verdict::Ended);
        };
        let manager = self.manager(id, link)?;
        if manager != link.manager || self.mode == Mode::Sweep {
            self.write_manager(id, link, manager.as_ref())?;
        }
        if self.mode != Mode::FirstSync {
            let waiting = self.known.waiting(id)?;
            if !waiting.is_empty() {
                let hints = waiting.iter().map(|member| Action::Hint(Key::Leader(member.clone())));
                let forget = Action::ForgetWaiting { leader: id.clone(), members: waiting.to_vec() };
                return Err(Need::act(hints.chain([forget]).collect()));
            }
        }
        let settled = MemberLink { leaders_due: false, manager, ..link.clone() };
        match settled == *link {
            true => Ok(Verdict::Converges),
            false => Err(Need::act(vec![save(id, &settled)])),
        }
    }

    /// The first one that it reports to and that is there.
    fn manager(&mut self, id: &MemberId, link: &MemberLink) -> Result<Option<TargetId>, Need> {
        for leader in link.leaders.iter().filter(|leader| *leader != id) {
            match self.target_of(leader)? {
                Ok(target) if target == link.target => {}
                Ok(target) => return Ok(Some(target)),
                Err(leader) => {
                    self.oddities.push(Oddity::UnknownLeader(id.clone(), leader.clone()));
                    // Noted, then looked up once more: one of the two runs sees the other.
                    if !self.known.waits(&leader, id) {
                        let member = id.clone();
                        return Err(Need::act(vec![Action::PutWaiting { leader, member }]));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The user of a leader, or by which userid it is not there.
    fn target_of(&self, leader: &MemberId) -> Result<Result<TargetId, MemberId>, Need> {
        let mut at = leader;
        for _ in 0..RENAMES_MAX {
            // Who is gone is nobody's manager, though the account stays.
            if let Some(link) = self.known.member_link(at)?.filter(|link| link.ended.is_none()) {
                return Ok(Ok(link.target.clone()));
            }
            match self.known.rename(at)? {
                Some(new) => at = new,
                None => break,
            }
        }
        Ok(Err(at.clone()))
    }

    fn write_manager(
        &self,
        id: &MemberId,
        link: &MemberLink,
        manager: Option<&TargetId>,
    ) -> Result<(), Need> {
        if self.rules.without.contains(&Field::Manager) {
            return Ok(());
        }
        // Where the user is gone from the target, a run of the member makes it anew.
        let Some(side) = self.known.user(&link.target)? else { return Ok(()) };
        let text = manager.map(|target| target.0.clone()).unwrap_or_default();
        let wanted = Attributes::from([(Field::Manager, Value::Text(text))]);
        match update(side, &ExternalId::Member(id.clone()), &wanted) {
            Some(update) => Err(Need::act(vec![update])),
            None => Ok(()),
        }
    }
}
