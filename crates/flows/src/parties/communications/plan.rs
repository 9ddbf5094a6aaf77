//! The decision about a party's phone numbers and mail addresses: what has to be written so that both sides hold the
//! same. No clock, I/O or randomness; neither the order of the entries nor that of the tables matters.

use std::collections::BTreeSet;

use super::kind::Kinds;
use super::memory::{Known, Memory, Pending, Problem, known};
use super::remark::{self, Mark, Remark};
use super::value::{self, Key, Value};
use super::{Class, CrmEntry, EntryWrite, Remote, RemoteEntry};
use crate::parties::link::{ConflictField, Subject};
use crate::parties::merge::Winner;

/// Everything that it depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// EspoCRM's lists.
    pub crm: &'a [CrmEntry],
    /// Advoware's entries.
    pub remote: &'a Remote,
    /// What the link remembers.
    pub memory: &'a Memory,
    /// Whose value counts where both sides changed one.
    pub winner: Winner,
    /// The settings.
    pub kinds: &'a Kinds,
}

/// The decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// Writes to Advoware, in order.
    pub writes: Vec<EntryWrite>,
    /// What EspoCRM is to hold, all of it.
    pub crm: Vec<CrmEntry>,
    /// The lists that have to be written for it.
    pub to_crm: Vec<Class>,
    /// Values that both sides changed.
    pub conflicts: Vec<ConflictField>,
    /// Whether a value that is there would be replaced or emptied, on either side.
    pub overwrites: bool,
    /// The memory for the time of the writes.
    pub begun: Memory,
    /// What is new for the user to know.
    pub news: Vec<Problem>,
    /// What has to be kept in mind of all that the user was told.
    told: Vec<Problem>,
    /// The entries that are there already, as they will be.
    written: Vec<RemoteEntry>,
    /// Value and remark of those that will be new.
    created: Vec<(String, String)>,
    kept: Vec<Known>,
}

impl Agreement {
    /// Whether nothing has to be written to either side.
    pub fn is_quiet(&self) -> bool {
        self.writes.is_empty() && self.to_crm.is_empty()
    }

    /// Whether Advoware holds what was written and nothing else.
    pub fn has_arrived(&self, held: &[RemoteEntry]) -> bool {
        let same = |a: &str, b: &str| a.trim() == b.trim();
        let is_known = |entry: &&RemoteEntry| {
            let known = self.written.iter().find(|written| written.id == entry.id);
            known.is_some_and(|known| same(&known.value, &entry.value) && same(&known.remark, &entry.remark))
        };
        let old = held.iter().filter(is_known).count();
        let mut new: Vec<_> = held.iter().filter(|entry| !is_known(entry)).collect();
        for (value, remark) in &self.created {
            let found = new.iter().position(|entry| same(value, &entry.value) && same(remark, &entry.remark));
            let Some(found) = found else { return false };
            new.swap_remove(found);
        }
        new.is_empty() && old == self.written.len()
    }

    /// The memory once both sides hold what was decided.
    pub fn memory(&self, held: &[RemoteEntry], kinds: &Kinds) -> Memory {
        let known = known(held, &self.written, &self.kept, &self.crm, kinds);
        Memory { known, pending: Vec::new(), told: self.told.clone(), untold: Vec::new() }
    }
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holds {
    Nothing,
    Value(Key),
    /// What is no value for EspoCRM: left alone, and the value agreed on before counts as still there.
    Foreign,
}

/// What both sides last agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Base {
    value: String,
    key: Key,
}

/// An entry of Advoware, read.
struct Seen<'a> {
    entry: &'a RemoteEntry,
    remark: Remark,
    kind: u8,
    holds: Holds,
    base: Option<Base>,
    /// Its mark, where that runs ahead of EspoCRM.
    ahead: Option<&'a Pending>,
}

/// Decides.
pub fn plan(input: &Input<'_>) -> Agreement {
    let seen = read_entries(input);
    let mut work = Work::new(input, &seen);
    work.compare(&seen);
    work.pair(&seen);
    work.write_crm(&seen);
    work.bring_new_ones(&seen);
    work.finish(&seen)
}

fn read_entries<'a>(input: &Input<'a>) -> Vec<Seen<'a>> {
    let kinds = input.kinds;
    let in_crm: BTreeSet<Key> =
        input.crm.iter().filter_map(|e| value::key(&e.value, kinds.country)).collect();
    let mut entries: Vec<&RemoteEntry> = input.remote.entries.iter().collect();
    entries.sort_by_key(|entry| entry.id);
    let base = |value: &str| Some(Base { value: value.to_owned(), key: value::key(value, kinds.country)? });
    let marked = |entry: &RemoteEntry| {
        let mut remark = remark::read(&entry.remark);
        let mut agreed = None;
        if let Mark::Value { value, .. } = &remark.mark {
            agreed = base(value);
            if agreed.is_none() {
                remark.mark = Mark::Damaged;
            }
        }
        (remark, agreed)
    };
    let is_held_beside = |id: i64, wanted: &Key| {
        entries.iter().filter(|entry| entry.id != id).any(|entry| {
            let key = value::key(&entry.value, kinds.country);
            let kind = |key| kinds.of_entry(&marked(entry).0.mark, key, &input.remote.mirrors);
            key.as_ref() == Some(wanted) && kinds.is_synchronised(kind(key.as_ref()))
        })
    };
    let read = |entry: &'a RemoteEntry| {
        let (remark, mut agreed) = marked(entry);
        if matches!(remark.mark, Mark::None | Mark::Damaged) {
            agreed = input.memory.known(entry.id).and_then(|known| base(&known.value));
        }
        // A mark of ours whose other half has not reached EspoCRM yet: what was agreed on before still is.
        let is_ahead = |pending: &&Pending| {
            let before = pending.before.as_deref().and_then(base);
            let holds = |base: &Option<Base>| base.as_ref().is_some_and(|base| in_crm.contains(&base.key));
            // EspoCRM keeps a value that another entry holds as well, so that it says nothing.
            let is_kept = || before.as_ref().is_some_and(|base| is_held_beside(entry.id, &base.key));
            match (&remark.mark, &pending.after) {
                (Mark::Value { value, .. }, Some(after)) => {
                    value == after && (!holds(&agreed) || holds(&before) && !is_kept())
                }
                (Mark::Slot { .. }, None) => holds(&before),
                _ => false,
            }
        };
        let ahead = input.memory.pending(entry.id).find(is_ahead);
        if let Some(pending) = ahead {
            agreed = pending.before.as_deref().and_then(base);
        }
        let (holds, key) = match value::read(&entry.value, kinds.country) {
            Value::Empty => (Holds::Nothing, agreed.as_ref().map(|base| base.key.clone())),
            Value::Known(key) => (Holds::Value(key.clone()), Some(key)),
            Value::NotInternational | Value::Neither => (Holds::Foreign, None),
        };
        // An entry that holds nothing is shown by no field.
        let mirrors = if holds == Holds::Nothing { &[] } else { input.remote.mirrors.as_slice() };
        let kind = kinds.of_entry(&remark.mark, key.as_ref(), mirrors);
        Seen { entry, remark, kind, holds, base: agreed, ahead }
    };
    entries.iter().copied().map(read).filter(|seen| kinds.is_synchronised(seen.kind)).collect()
}

/// A value that EspoCRM holds, with its key where it has one.
struct Held {
    entry: CrmEntry,
    key: Option<Key>,
}

/// A change of EspoCRM's lists that comes from an entry.
struct Change {
    /// The value that it takes the place of.
    old: Option<Key>,
    /// The value that comes; none where it only goes.
    new: Option<(Key, CrmEntry)>,
}

struct Work<'a> {
    input: &'a Input<'a>,
    /// Values that EspoCRM held when it was read.
    present: BTreeSet<Key>,
    /// Values that are some entry's, now or before.
    taken: BTreeSet<Key>,
    /// EspoCRM's lists as they are to be.
    crm: Vec<Held>,
    changes: Vec<Change>,
    /// Entries whose value EspoCRM does not hold any more, by place, with whether it was changed in Advoware as well.
    missing: Vec<(usize, bool)>,
    /// Entries that are free, by place; those that become so in this run as well, or a run that ended in its middle
    /// would come to another end.
    free: Vec<usize>,
    updates: Vec<RemoteEntry>,
    creates: Vec<EntryWrite>,
    pending: Vec<Pending>,
    conflicts: Vec<ConflictField>,
    overwrites: bool,
    kept: Vec<Known>,
}

impl<'a> Work<'a> {
    fn new(input: &'a Input<'a>, seen: &[Seen<'_>]) -> Self {
        let country = input.kinds.country;
        let held = |entry: &CrmEntry| Held { key: value::key(&entry.value, country), entry: entry.clone() };
        let crm: Vec<Held> = input.crm.iter().map(held).collect();
        let present = crm.iter().filter_map(|held| held.key.clone()).collect();
        let mut taken: BTreeSet<Key> = BTreeSet::new();
        for seen in seen {
            taken.extend(seen.base.iter().map(|base| base.key.clone()));
            if let Holds::Value(key) = &seen.holds {
                taken.insert(key.clone());
            }
        }
        Self {
            input,
            present,
            taken,
            crm,
            changes: Vec::new(),
            missing: Vec::new(),
            free: Vec::new(),
            updates: Vec::new(),
            creates: Vec::new(),
            pending: Vec::new(),
            conflicts: Vec::new(),
            overwrites: false,
            kept: Vec::new(),
        }
    }

    /// Entry by entry: who changed what since both agreed.
    fn compare(&mut self, seen: &[Seen<'_>]) {
        for (place, entry) in seen.iter().enumerate() {
            self.compare_entry(place, entry);
        }
        let there: BTreeSet<i64> = self.input.remote.entries.iter().map(|entry| entry.id).collect();
        let memory = self.input.memory;
        let known = memory.known.iter().map(|known| (known.id, &known.value));
        let ahead = memory.pending.iter().filter_map(|pending| Some((pending.id, pending.after.as_ref()?)));
        for (_, value) in known.chain(ahead).filter(|(id, _)| !there.contains(id)) {
            if let Some(key) = value::key(value, self.input.kinds.country) {
                self.taken.insert(key.clone());
                self.changes.push(Change { old: Some(key), new: None });
            }
        }
    }

    fn compare_entry(&mut self, place: usize, seen: &Seen<'_>) {
        let in_crm = |work: &Self, key: &Key| work.present.contains(key);
        match (&seen.holds, &seen.base) {
            (Holds::Foreign, Some(base)) => {
                if !matches!(seen.remark.mark, Mark::Value { .. }) {
                    self.kept.push(Known { id: seen.entry.id, value: base.value.clone(), primary: false });
                }
            }
            (Holds::Foreign, None) => {}
            (Holds::Nothing, None) => {
                // A value that was emptied before it reached EspoCRM leaves its mark behind.
                if matches!(seen.remark.mark, Mark::Slot { .. } | Mark::Value { .. }) {
                    self.free.push(place);
                }
            }
            (Holds::Nothing, Some(base)) => {
                let marked = matches!(seen.remark.mark, Mark::Value { .. } | Mark::Slot { .. });
                if in_crm(self, &base.key) {
                    self.changes.push(Change { old: Some(base.key.clone()), new: None });
                    if marked {
                        self.ahead(seen, None);
                        self.mark(seen, &Mark::Slot { kind: seen.kind }, seen.entry.value.clone());
                    }
                } else if marked {
                    self.free.push(place);
                }
            }
            (Holds::Value(key), Some(base)) if *key == base.key => {
                if !in_crm(self, key) {
                    self.missing.push((place, false));
                } else if !matches!(seen.remark.mark, Mark::Value { .. }) {
                    self.adopt(seen, key);
                }
            }
            (Holds::Value(key), Some(base)) if in_crm(self, &base.key) => {
                self.bring(seen, key, Some(base.key.clone()));
            }
            (Holds::Value(key), _) if in_crm(self, key) => self.adopt(seen, key),
            (Holds::Value(_), Some(_)) => self.missing.push((place, true)),
            (Holds::Value(key), None) => self.bring(seen, key, None),
        }
    }

    /// Both sides hold it already: only the mark says so from now on.
    fn adopt(&mut self, seen: &Seen<'_>, key: &Key) {
        let held = self.crm.iter().find(|held| held.key.as_ref() == Some(key));
        let value = held.map(|held| held.entry.value.clone()).unwrap_or_default();
        self.mark(seen, &Mark::Value { value, kind: seen.kind }, seen.entry.value.clone());
    }

    /// An entry's value goes to EspoCRM, in the place of `old` where there is one.
    fn bring(&mut self, seen: &Seen<'_>, key: &Key, old: Option<Key>) {
        let value = value::for_crm(key, &seen.entry.value);
        let class = key.class();
        let entry = CrmEntry {
            class,
            value: value.clone(),
            kind: self.input.kinds.crm_type(seen.kind, class),
            primary: false,
            opt_out: false,
            invalid: false,
        };
        self.changes.push(Change { old, new: Some((key.clone(), entry)) });
        self.ahead(seen, Some(value.clone()));
        self.mark(seen, &Mark::Value { value, kind: seen.kind }, seen.entry.value.clone());
    }

    /// Notes that the entry's mark is written before EspoCRM is.
    fn ahead(&mut self, seen: &Seen<'_>, after: Option<String>) {
        let before = seen.base.as_ref().map(|base| base.value.clone());
        self.pending.push(Pending { id: seen.entry.id, before, after });
    }

    /// Writes an entry, unless it is so already.
    fn mark(&mut self, seen: &Seen<'_>, mark: &Mark, value: String) {
        if *mark == seen.remark.mark && value == seen.entry.value {
            return;
        }
        let remark = remark::write(mark, &seen.remark.text);
        self.updates.push(RemoteEntry { value, remark, ..seen.entry.clone() });
    }

    /// What EspoCRM does not hold any more: was it changed there, or deleted?
    fn pair(&mut self, seen: &[Seen<'_>]) {
        for (place, changed) in std::mem::take(&mut self.missing) {
            let Some(seen) = seen.get(place) else { continue };
            let successor = self.successor(seen);
            let mut crm_counts = true;
            if changed {
                self.conflicts.push(ConflictField {
                    field: Subject::of_class(
                        seen.base.as_ref().map_or(Class::Phone, |base| base.key.class()),
                    ),
                    crm: successor.as_ref().map(|(_, entry)| entry.value.clone()),
                    remote: Some(seen.entry.value.trim().to_owned()),
                });
                crm_counts = self.input.winner == Winner::Crm;
            }
            self.overwrites = true;
            match (&seen.holds, successor) {
                (Holds::Value(key), successor) if !crm_counts => {
                    self.bring(seen, key, successor.map(|(key, _)| key));
                }
                (_, Some((_, entry))) => {
                    let mark = Mark::Value { value: entry.value.clone(), kind: seen.kind };
                    self.mark(seen, &mark, entry.value);
                }
                (_, None) => self.free.push(place),
            }
        }
    }

    /// The new value that EspoCRM holds in the place of an entry's: of the same kind, first or not as that one was.
    fn successor(&mut self, seen: &Seen<'_>) -> Option<(Key, CrmEntry)> {
        let class = seen.base.as_ref()?.key.class();
        let was_primary = self.input.memory.known(seen.entry.id).map(|known| known.primary);
        let fits = |held: &&Held| {
            held.entry.class == class
                && held.key.as_ref().is_some_and(|key| !self.taken.contains(key))
                && was_primary.is_none_or(|primary| primary == held.entry.primary)
                && self.input.kinds.fits(seen.kind, &held.entry)
        };
        let found = self.crm.iter().find(fits)?;
        let successor = (found.key.clone()?, found.entry.clone());
        self.taken.insert(successor.0.clone());
        Some(successor)
    }

    /// Applies the changes to EspoCRM's lists.
    fn write_crm(&mut self, seen: &[Seen<'_>]) {
        let holders: BTreeSet<&Key> = seen
            .iter()
            .filter_map(|seen| if let Holds::Value(key) = &seen.holds { Some(key) } else { None })
            .collect();
        // Replacing comes first: what is only taken away may be another entry's old value.
        let (replacing, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| change.old.is_some() && change.new.is_some());
        for Change { old, new } in replacing.into_iter().chain(others) {
            let place =
                |work: &Self, key: &Key| work.crm.iter().position(|held| held.key.as_ref() == Some(key));
            let old = old.filter(|key| !holders.contains(key)).and_then(|key| place(self, &key));
            let known = new.as_ref().and_then(|(key, _)| place(self, key));
            self.overwrites |= old.is_some();
            match (old, new) {
                (Some(old), Some((key, entry))) if known.is_none() => {
                    let same = self.crm.get_mut(old).filter(|held| held.entry.class == entry.class);
                    if let Some(held) = same {
                        // Its place, its type and its flags stay.
                        (held.entry.value, held.key) = (entry.value, Some(key));
                    } else {
                        self.crm.remove(old);
                        self.crm.push(Held { entry, key: Some(key) });
                    }
                }
                (Some(old), _) => {
                    let was = self.crm.remove(old);
                    let heir = known.map(|at| if at > old { at - 1 } else { at });
                    if let Some(heir) = heir.and_then(|at| self.crm.get_mut(at))
                        && heir.entry.class == was.entry.class
                    {
                        heir.entry.primary |= was.entry.primary;
                    }
                }
                (None, Some((key, entry))) if known.is_none() => {
                    self.crm.push(Held { entry, key: Some(key) });
                }
                (None, _) => {}
            }
        }
        for class in Class::ALL {
            self.settle_primary(class);
        }
    }

    /// One entry of a list that is written is its first: EspoCRM chooses none by itself.
    fn settle_primary(&mut self, class: Class) {
        if !self.is_changed(class) {
            return;
        }
        let mut found = false;
        for held in self.crm.iter_mut().filter(|held| held.entry.class == class) {
            held.entry.primary &= !found;
            found |= held.entry.primary;
        }
        if !found && let Some(first) = self.crm.iter_mut().find(|held| held.entry.class == class) {
            first.entry.primary = true;
        }
    }

    fn is_changed(&self, class: Class) -> bool {
        let before = self.input.crm.iter().filter(|entry| entry.class == class);
        let after = self.crm.iter().map(|held| &held.entry).filter(|entry| entry.class == class);
        !before.eq(after)
    }

    /// What only EspoCRM holds goes into free entries of the kind, else into new ones.
    fn bring_new_ones(&mut self, seen: &[Seen<'_>]) {
        for entry in self.input.crm {
            let Some(key) = value::key(&entry.value, self.input.kinds.country) else { continue };
            if !self.taken.insert(key) {
                continue;
            }
            let kind = self.input.kinds.of_crm(entry);
            let mark = Mark::Value { value: entry.value.clone(), kind };
            let free =
                self.free.iter().copied().filter(|at| seen.get(*at).is_some_and(|seen| seen.kind == kind));
            // One that nobody has written a remark of their own into is the better choice.
            let slot =
                free.min_by_key(|at| (seen.get(*at).is_some_and(|seen| !seen.remark.text.is_empty()), *at));
            match slot.and_then(|at| Some((at, seen.get(at)?))) {
                Some((at, slot)) => {
                    self.free.retain(|free| *free != at);
                    self.mark(slot, &mark, entry.value.clone());
                }
                None => self.creates.push(EntryWrite::Create {
                    kind,
                    value: entry.value.clone(),
                    remark: remark::write(&mark, ""),
                    online: entry.class == Class::Mail,
                }),
            }
        }
    }

    fn finish(mut self, seen: &[Seen<'_>]) -> Agreement {
        for free in std::mem::take(&mut self.free).into_iter().filter_map(|at| seen.get(at)) {
            let blank = if free.holds == Holds::Nothing { free.entry.value.clone() } else { String::new() };
            self.mark(free, &Mark::Slot { kind: free.kind }, blank);
        }
        self.updates.sort_by_key(|update| update.id);
        let to_crm: Vec<Class> = Class::ALL.into_iter().filter(|class| self.is_changed(*class)).collect();
        // EspoCRM refuses a whole list for one national number that it was given in former times.
        for Held { entry, key } in self.crm.iter_mut().filter(|held| to_crm.contains(&held.entry.class)) {
            if let Some(key) = key {
                entry.value = value::for_crm(key, &entry.value);
            }
        }
        let told = self.problems(seen);
        let written = |entry: &RemoteEntry| {
            let update = self.updates.iter().find(|update| update.id == entry.id);
            update.unwrap_or(entry).clone()
        };
        let written = self.input.remote.entries.iter().map(written).collect();
        let created = |write: &EntryWrite| match write {
            EntryWrite::Create { value, remark, .. } => Some((value.clone(), remark.clone())),
            EntryWrite::Update(_) => None,
        };
        let memory = self.input.memory;
        let pending = self.still_pending(seen);
        let mut news = memory.untold.clone();
        news.extend(
            told.iter().filter(|told| !memory.told.contains(told) && !memory.untold.contains(told)).cloned(),
        );
        // A mark that is written anew is no problem any more.
        let is_healed = |problem: &Problem| matches!(problem, Problem::MarkDamaged { id, .. } if self.updates.iter().any(|update| update.id == *id));
        let told = told.into_iter().filter(|problem| !is_healed(problem)).collect();
        Agreement {
            created: self.creates.iter().filter_map(created).collect(),
            writes: self.updates.into_iter().map(EntryWrite::Update).chain(self.creates).collect(),
            crm: self.crm.into_iter().map(|held| held.entry).collect(),
            to_crm,
            conflicts: self.conflicts,
            overwrites: self.overwrites,
            begun: Memory { pending, untold: news.clone(), ..memory.clone() },
            news,
            told,
            written,
            kept: self.kept,
        }
    }

    /// The marks that this run writes before EspoCRM; and those that run ahead already, until they are overwritten,
    /// or EspoCRM does not hold any more what somebody removed with their entry.
    fn still_pending(&self, seen: &[Seen<'_>]) -> Vec<Pending> {
        let entries = &self.input.remote.entries;
        let is_gone = |pending: &&Pending| !entries.iter().any(|entry| entry.id == pending.id);
        let is_written_again =
            |old: &&Pending| self.pending.iter().any(|new| (new.id, &new.after) == (old.id, &old.after));
        let ahead = seen.iter().filter_map(|seen| seen.ahead).filter(|old| !is_written_again(old));
        let gone = self.input.memory.pending.iter().filter(is_gone);
        self.pending.iter().chain(ahead).chain(gone).cloned().collect()
    }

    fn problems(&self, seen: &[Seen<'_>]) -> Vec<Problem> {
        let country = self.input.kinds.country;
        let mut problems = Vec::new();
        for Seen { entry, remark, .. } in seen {
            let (id, value) = (entry.id, entry.value.trim().to_owned());
            if remark.mark == Mark::Damaged {
                problems.push(Problem::MarkDamaged { id, value: value.clone() });
            }
            if value::read(&value, country) == Value::NotInternational {
                problems.push(Problem::NotInternational { id, value });
            }
        }
        let is_foreign = |entry: &&CrmEntry| value::key(&entry.value, country).is_none();
        let foreign = self.input.crm.iter().filter(is_foreign);
        problems.extend(foreign.map(|entry| Problem::NotInternationalInCrm { value: entry.value.clone() }));
        problems
    }
}
