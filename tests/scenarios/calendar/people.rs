//! Does what the script says: in the systems, as their people, and in what the oracle keeps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shared::clock::ManualClock;
use simulators::{EspocrmSimulator, GoogleSimulator, MicrosoftSimulator};

use super::affairs::{Affair, Calendar, Copy, Kind, Standing, Tie, User, contact_mail, stranger_mail};
use super::oracle::{People, Seen};
use super::says::{Change, Provider, Rule, Says, mark};
use super::script::{CONTACTS, Edit, SlotChange};
use super::shown::Shown;
use super::{crm, google, outlook};

/// The systems, their people, and what these are about.
pub struct Office {
    pub crm: Arc<EspocrmSimulator>,
    pub microsoft: Arc<MicrosoftSimulator>,
    pub google: Arc<GoogleSimulator>,
    pub users: Vec<User>,
    pub calendars: Vec<Calendar>,
    pub contacts: Vec<String>,
    pub affairs: Vec<Affair>,
}

type Done = Result<(), String>;

impl Office {
    pub fn people(&self) -> People<'_> {
        People { users: &self.users, calendars: &self.calendars, contacts: &self.contacts }
    }

    /// One step of the script; the clock moves where it takes a minute.
    pub fn perform(&mut self, edit: &Edit, clock: &ManualClock) -> Done {
        let calendars = self.calendars.clone();
        match edit {
            Edit::Event { calendar, says, guests, rule } => self.make_event(*calendar, says, guests, *rule),
            Edit::Invitation { calendars, says } => self.receive(calendars, says),
            Edit::Meeting { kind, assigned, users, contacts, says } => {
                self.make_meeting(*kind, *assigned, users, contacts, says)
            }
            Edit::InCalendar { affair, calendar, change } => {
                self.change_event(*affair, *calendar, change)?;
                self.affairs[*affair].in_calendar(*calendar, change, &calendars);
                Ok(())
            }
            Edit::InCrm { affair, change } => {
                self.change_meeting(*affair, change)?;
                self.affairs[*affair].in_crm(change, &calendars);
                Ok(())
            }
            Edit::Clash { affair, calendar, here, there, calendar_is_later, seconds } => {
                let pause = Duration::from_secs(*seconds);
                if *calendar_is_later {
                    self.change_meeting(*affair, there)?;
                    clock.advance(pause);
                    self.change_event(*affair, *calendar, here)?;
                } else {
                    self.change_event(*affair, *calendar, here)?;
                    clock.advance(pause);
                    self.change_meeting(*affair, there)?;
                }
                self.affairs[*affair].clash(*calendar, here, there, *calendar_is_later, &calendars);
                Ok(())
            }
            Edit::DeleteEvent { affair, calendar } => {
                self.remove_event(*affair, *calendar)?;
                self.affairs[*affair].delete_in_calendar(*calendar, None, &calendars);
                Ok(())
            }
            Edit::DeleteMeeting { affair } => {
                self.remove_meeting(*affair)?;
                self.affairs[*affair].delete_in_crm(None, &calendars);
                Ok(())
            }
            Edit::DeleteEventAgainst { affair, calendar, change } => {
                self.remove_event(*affair, *calendar)?;
                clock.advance(Duration::from_secs(20));
                self.change_meeting(*affair, change)?;
                self.affairs[*affair].delete_in_calendar(*calendar, Some(change), &calendars);
                Ok(())
            }
            Edit::DeleteMeetingAgainst { affair, calendar, change } => {
                self.change_event(*affair, *calendar, change)?;
                clock.advance(Duration::from_secs(20));
                self.remove_meeting(*affair)?;
                self.affairs[*affair].delete_in_crm(Some((*calendar, change)), &calendars);
                Ok(())
            }
            Edit::Answer { affair, calendar, accepts } => self.answer(*affair, *calendar, *accepts),
            Edit::Conclude { affair, held } => {
                let it = &self.affairs[*affair];
                let user = &self.users[it.assigned].crm_id;
                crm::conclude(&self.crm, user, (it.kind, id(it.id.as_ref())?), *held)?;
                let it = &mut self.affairs[*affair];
                (it.is_planned, it.is_not_held, it.is_closed) = (false, !held, true);
                Ok(())
            }
            Edit::CopyEvent { affair, calendar, says } => self.copy_event(*affair, *calendar, says),
            Edit::Slot { affair, calendar, date, change } => {
                let it = &self.affairs[*affair];
                let master = id(it.copies[calendar].id.as_ref())?;
                let day = match self.calendars[*calendar].provider {
                    Provider::Microsoft => outlook::occurrence(master, *date),
                    Provider::Google => google::occurrence(master, &it.copies[calendar].says.when.on(*date)),
                };
                match change {
                    SlotChange::Delete => self.remove_at(*calendar, &day)?,
                    SlotChange::Change(change) => self.change_at(*calendar, &day, change)?,
                }
                let change = match change {
                    SlotChange::Delete => None,
                    SlotChange::Change(change) => Some(change),
                };
                self.affairs[*affair].in_slot(*calendar, *date, change, &calendars);
                Ok(())
            }
        }
    }

    fn add(&mut self, affair: Affair) {
        self.affairs.push(affair);
    }

    fn make_event(&mut self, at: usize, says: &Says, guests: &BTreeSet<String>, rule: Option<Rule>) -> Done {
        let own = &self.calendars[at];
        let made = match own.provider {
            Provider::Microsoft => outlook::make(&self.microsoft, &own.mail, says, guests, rule)?,
            Provider::Google => google::make(&self.google, &own.mail, says, guests, rule)?,
        };
        let born = Some(at);
        let mut affair = Affair { rule, born, ..Affair::new(self.affairs.len(), says.clone(), own.user) };
        affair.copies.insert(at, fresh(Some(made), says, true, guests.clone()));
        let invited = |other: &Calendar| other.provider == own.provider && guests.contains(&other.mail);
        for (other, calendar) in self.calendars.iter().enumerate().filter(|(_, other)| invited(other)) {
            affair.copies.insert(other, fresh(None, says, false, BTreeSet::new()));
            affair.users.insert(calendar.user);
        }
        affair.contacts = (0..CONTACTS).filter(|contact| guests.contains(&contact_mail(*contact))).collect();
        self.add(affair);
        Ok(())
    }

    fn receive(&mut self, into: &[usize], says: &Says) -> Done {
        let number = self.affairs.len();
        let uid = format!("outside-{}@draussen.example", mark(number));
        let organizer = stranger_mail(0);
        let mails: Vec<&str> = into.iter().map(|at| self.calendars[*at].mail.as_str()).collect();
        let mut affair = Affair::new(number, says.clone(), self.calendars[into[0]].user);
        for at in into {
            let own = &self.calendars[*at];
            let made = match own.provider {
                Provider::Microsoft => {
                    outlook::receive(&self.microsoft, &own.mail, says, (&organizer, &uid), &mails)?
                }
                Provider::Google => {
                    google::receive(&self.google, &own.mail, says, (&organizer, &uid), &mails)?
                }
            };
            affair.copies.insert(*at, fresh(Some(made), says, false, BTreeSet::new()));
            affair.users.insert(own.user);
        }
        self.add(affair);
        Ok(())
    }

    fn copy_event(&mut self, of: usize, at: usize, says: &Says) -> Done {
        let original = id(self.affairs[of].copies[&at].id.as_ref())?;
        let made = match self.calendars[at].provider {
            Provider::Microsoft => outlook::copy(&self.microsoft, original, says)?,
            Provider::Google => google::copy(&self.google, original, says)?,
        };
        let user = self.calendars[at].user;
        let mut affair = Affair { born: Some(at), ..Affair::new(self.affairs.len(), says.clone(), user) };
        affair.copies.insert(at, fresh(Some(made), says, true, BTreeSet::new()));
        self.add(affair);
        Ok(())
    }

    fn make_meeting(
        &mut self,
        kind: Kind,
        assigned: usize,
        users: &BTreeSet<usize>,
        contacts: &BTreeSet<usize>,
        says: &Says,
    ) -> Done {
        let whose = crm::Whose {
            assigned: &self.users[assigned].crm_id,
            users: users.iter().map(|user| self.users[*user].crm_id.as_str()).collect(),
            contacts: contacts.iter().map(|contact| self.contacts[*contact].as_str()).collect(),
        };
        let made = crm::make(&self.crm, kind, says, &whose)?;
        let affair = Affair::new(self.affairs.len(), says.clone(), assigned);
        self.add(Affair {
            kind,
            id: Some(made),
            meeting: Standing::There,
            users: users.clone(),
            contacts: contacts.clone(),
            ..affair
        });
        Ok(())
    }

    fn change_at(&self, at: usize, id: &str, change: &Change) -> Done {
        match self.calendars[at].provider {
            Provider::Microsoft => outlook::change(&self.microsoft, id, change),
            Provider::Google => google::change(&self.google, id, change),
        }
    }

    fn remove_at(&self, at: usize, id: &str) -> Done {
        match self.calendars[at].provider {
            Provider::Microsoft => self.microsoft.delete_as_person(id),
            Provider::Google => self.google.delete_as_person(id),
        }
    }

    fn change_event(&self, affair: usize, at: usize, change: &Change) -> Done {
        self.change_at(at, id(self.affairs[affair].copies[&at].id.as_ref())?, change)
    }

    fn remove_event(&self, affair: usize, at: usize) -> Done {
        self.remove_at(at, id(self.affairs[affair].copies[&at].id.as_ref())?)
    }

    fn change_meeting(&self, affair: usize, change: &Change) -> Done {
        let it = &self.affairs[affair];
        crm::change(&self.crm, &self.users[it.assigned].crm_id, (it.kind, id(it.id.as_ref())?), change)
    }

    fn remove_meeting(&self, affair: usize) -> Done {
        let it = &self.affairs[affair];
        crm::remove(&self.crm, &self.users[it.assigned].crm_id, (it.kind, id(it.id.as_ref())?))
    }

    fn answer(&mut self, affair: usize, at: usize, accepts: bool) -> Done {
        let provider = self.calendars[at].provider;
        let it = &mut self.affairs[affair];
        let event = id(it.copies[&at].id.as_ref())?;
        match provider {
            Provider::Microsoft => outlook::answer(&self.microsoft, event, accepts)?,
            Provider::Google => google::answer(&self.google, event, accepts)?,
        }
        // Outlook takes what is declined out of the calendar.
        if provider == Provider::Microsoft
            && !accepts
            && let Some(copy) = it.copies.get_mut(&at)
        {
            (copy.standing, copy.tie) = (Standing::Gone, Tie::Ended);
        }
        it.answer(self.calendars[at].user, accepts, &self.calendars);
        it.is_closed = true;
        Ok(())
    }

    /// Everything that all systems show, by what it is about.
    pub fn look(&self) -> Seen {
        Seen::of(self.shown().into_iter())
    }

    /// Everything that all systems show.
    pub fn shown(&self) -> Vec<Shown> {
        let calendar = |mail: &str| self.calendars.iter().position(|it| it.mail.eq_ignore_ascii_case(mail));
        let mut shown: Vec<Shown> = Vec::new();
        for kind in [Kind::Meeting, Kind::Call] {
            shown.extend(crm::all(&self.crm, kind));
        }
        for record in self.microsoft.records() {
            let Some(at) = record["mailbox"].as_str().and_then(calendar) else { continue };
            shown.push(outlook::shown(&record, at));
        }
        for record in self.google.records() {
            let Some(at) = record["calendarId"].as_str().and_then(calendar) else { continue };
            shown.push(google::shown(&record, at));
        }
        // Outlook shows the days of a series one by one only.
        for affair in self.affairs.iter().filter(|affair| affair.rule.is_some()) {
            for (at, copy) in affair.copies.iter() {
                let Some(master) = &copy.id else { continue };
                if self.calendars[*at].provider == Provider::Microsoft {
                    let days = affair.slots.keys();
                    let days =
                        days.filter_map(|day| self.microsoft.record(&outlook::occurrence(master, *day)));
                    shown.extend(
                        days.filter(|day| day["type"] == "exception").map(|day| outlook::shown(&day, *at)),
                    );
                }
            }
        }
        shown
    }
}

fn fresh(id: Option<String>, says: &Says, is_own: bool, guests: BTreeSet<String>) -> Copy {
    let (standing, tie) = (Standing::There, Tie::Waiting);
    Copy { id, says: says.clone(), is_own, is_ours: false, standing, tie, guests }
}

fn id(known: Option<&String>) -> Result<&str, String> {
    known.map(String::as_str).ok_or_else(|| "its id is not known yet".to_owned())
}
