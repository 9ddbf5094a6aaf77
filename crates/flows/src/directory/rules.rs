//! What the settings say to a plan.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::espocrm::form;
use super::member::ActiveRule;
use super::names;
use super::record::{Attributes, Field};
use crate::parties::communications::value::Country;

/// How the tree is shown in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hierarchy {
    /// A group has the groups below as members.
    #[default]
    Nested,
    /// A group has its own members only.
    Flat,
    /// A group also has all members below.
    Rollup,
}

/// What groups are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupNames {
    /// As the department is.
    #[default]
    Name,
    /// With those above it, without the root.
    Path,
}

/// What users log in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Login {
    /// The userid.
    #[default]
    Userid,
    /// The mail address; the userid while there is none.
    Mail,
    /// The mobile number; the userid while there is none.
    Mobile,
}

/// What becomes of the account of a member that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leavers {
    /// It may not be used any more, and stays.
    #[default]
    Deactivate,
    /// It is deleted.
    Delete,
}

/// How the target keeps names and what users say. What is wanted is brought into this form before it is compared: else
/// each look would find a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Everything, as it is.
    #[default]
    Any,
    /// As EspoCRM takes it. A number without country code is one of this country.
    EspoCrm(Country),
}

impl Form {
    /// A group's name as the target keeps it.
    pub(super) fn name(self, name: &str) -> String {
        match self {
            Self::Any => name.to_owned(),
            Self::EspoCrm(_) => form::name(name),
        }
    }

    /// What is wanted of a user, as the target keeps it.
    pub(super) fn user(self, wanted: Attributes) -> Attributes {
        match self {
            Self::Any => wanted,
            Self::EspoCrm(country) => form::user(wanted, country),
        }
    }
}

/// What the settings say to a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How the tree is shown.
    pub hierarchy: Hierarchy,
    /// What groups are called.
    pub group_names: GroupNames,
    /// Longest name of a group, in characters.
    pub name_chars_max: usize,
    /// How the target keeps it.
    pub form: Form,
    /// Who is active.
    pub active: ActiveRule,
    /// What becomes of leavers.
    pub leavers: Leavers,
    /// What users log in with.
    pub login: Login,
    /// Whether users that are not there are created.
    pub creates_users: bool,
    /// Family names of two characters.
    pub double_surnames: BTreeSet<String>,
    /// What is written as a user's department: its main department's name or path; none leaves it alone.
    pub user_department: Option<GroupNames>,
    /// Whether the main department's path is written as a user's division.
    pub user_division: bool,
    /// The extended attribute that is the employee's number.
    pub employee_number: Option<String>,
    /// Fields that are never written: the target has no place for them, or somebody else fills them.
    pub without: BTreeSet<Field>,
    /// Time after which a department that we may not see is asked for again.
    pub invisible_again: Duration,
    /// Age from which a second account of a renamed member is the one in use.
    pub settled_after: Duration,
    /// Members that one request adds to or takes from a group, at most.
    pub batch_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            hierarchy: Hierarchy::default(),
            group_names: GroupNames::default(),
            name_chars_max: 200,
            form: Form::default(),
            active: ActiveRule::default(),
            leavers: Leavers::default(),
            login: Login::default(),
            creates_users: true,
            double_surnames: names::double_surnames(),
            user_department: Some(GroupNames::Name),
            user_division: false,
            employee_number: None,
            without: BTreeSet::new(),
            invisible_again: Duration::from_secs(24 * 3_600),
            settled_after: Duration::from_secs(24 * 3_600),
            batch_max: 100,
        }
    }
}

impl Rules {
    /// What a target of this hierarchy has where nothing else is said: names repeat, so only nested groups can do
    /// without paths.
    #[must_use]
    pub fn with_hierarchy(mut self, hierarchy: Hierarchy) -> Self {
        self.hierarchy = hierarchy;
        self.group_names = match hierarchy {
            Hierarchy::Nested => GroupNames::Name,
            Hierarchy::Flat | Hierarchy::Rollup => GroupNames::Path,
        };
        self
    }

    /// Whether groups below change with the way to them.
    pub(super) fn groups_have_ways(&self) -> bool {
        self.group_names == GroupNames::Path || self.members_have_ways()
    }

    /// Whether members below change with the way to them.
    pub(super) fn members_have_ways(&self) -> bool {
        self.hierarchy == Hierarchy::Rollup
            || self.user_department == Some(GroupNames::Path)
            || self.user_division
    }
}
