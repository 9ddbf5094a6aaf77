//! What a company's secrets may read, found out by asking: which apps may do what has changed twice, and nothing says so but
//! the answers.

use shared::fault::Fault;

use crate::api::Api;
use crate::client::Reply;
use crate::departments::{self, read_ids};
use crate::error::FORBIDDEN;
use crate::members::{self, read_list, read_one};
use crate::{DepartmentId, Member, Secret, UserId, WeCom};

/// Departments that are looked at for somebody to look at.
const DEPARTMENTS_TRIED_MAX: usize = 5;

/// What may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Names of departments.
    pub department_names: Ability,
    /// Members with their departments and places.
    pub members: Ability,
    /// Mobile, mail and gender of members.
    pub contact_data: Ability,
    /// Complete lists of ids.
    pub all_ids: Ability,
    /// The company itself; without it departments may lack their parents, and members may be missing.
    pub whole_company: Ability,
}

/// Whether something may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ability {
    /// With this secret.
    With(Secret),
    /// It may not.
    Not(Lack),
    /// Nobody was found to try it with.
    Unknown,
}

impl Ability {
    /// Whether it may be read.
    pub fn is_there(&self) -> bool {
        matches!(self, Self::With(_))
    }
}

/// Why something may not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// The secret that it takes is not in the settings.
    Secret(Secret),
    /// WeCom does not permit it to this secret.
    Forbidden(Secret),
    /// Corp id, secret or address are refused.
    Refused {
        /// Which secret.
        secret: Secret,
        /// What to do.
        what: String,
    },
    /// It is outside of the app's visible scope.
    Scope(Secret),
    /// The app was made after 2022-06-20: members' fields are absent.
    Fields(Secret),
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(Secret::App) => f.write_str(
                "app_secret is not set, and from addresses added since 2022-08-15 contact_sync_secret reads ids only",
            ),
            Self::Secret(secret @ Secret::ContactSync) => write!(f, "{secret} is not set"),
            Self::Forbidden(secret) => {
                write!(f, "WeCom does not permit it to {secret}: check in its console that the app is enabled")
            }
            Self::Refused { what, .. } => f.write_str(what.trim_end_matches('.')),
            Self::Scope(secret) => {
                write!(f, "it is outside of what {secret} may see: make the app's visible scope the whole company")
            }
            Self::Fields(secret) => write!(
                f,
                "{secret} is of an app made since 2022-06-20, which gets no mobile, mail and gender: they stay unknown, and \
                 accounts need the userid as login"
            ),
        }
    }
}

impl Abilities {
    /// What is lacking, one sentence each, for the log at the start.
    pub fn lacks(&self) -> Vec<String> {
        let named = [
            ("names of departments", &self.department_names),
            ("members", &self.members),
            ("members' contact data", &self.contact_data),
            ("complete lists of ids", &self.all_ids),
            ("the whole company", &self.whole_company),
        ];
        let lacking = named.into_iter().filter_map(|(what, ability)| match ability {
            Ability::Not(lack) => Some(format!("{what} cannot be read: {lack}.")),
            Ability::With(_) | Ability::Unknown => None,
        });
        lacking.collect()
    }
}

impl WeCom {
    /// Finds out what may be read, by the smallest calls; a dozen at most. Safe to repeat.
    ///
    /// # Errors
    /// What says nothing about abilities: throttled, paused, busy, lost and unreadable answers.
    pub async fn abilities(&self) -> Result<Abilities, Fault> {
        let reader = if self.has(Secret::App) { Secret::App } else { Secret::ContactSync };
        let all_ids = self.look_for_ids().await?;
        let none = |lack: &Lack| Ability::Not(lack.clone());
        let departments = match self.seen(reader).await? {
            Ok(departments) => departments,
            Err(lack) => {
                let [department_names, members, contact_data, whole_company] = [(); 4].map(|()| none(&lack));
                return Ok(Abilities { department_names, members, contact_data, all_ids, whole_company });
            }
        };
        let sees_root = departments.contains(&DepartmentId::ROOT);
        let department_names = match departments.first() {
            Some(id) => self.try_names(reader, *id).await?,
            None => none(&Lack::Scope(reader)),
        };
        let (members, contact_data) = self.look_for_members(reader, &departments).await?;
        let whole_company = if sees_root { Ability::With(reader) } else { none(&Lack::Scope(reader)) };
        Ok(Abilities { department_names, members, contact_data, all_ids, whole_company })
    }

    /// The ids of the departments that a secret sees, the company first.
    async fn seen(&self, secret: Secret) -> Result<Result<Vec<DepartmentId>, Lack>, Fault> {
        let request = departments::request(Api::DepartmentIds, None);
        let reply = self.call_with(Api::DepartmentIds, secret, request).await.and_then(Reply::good);
        let answer = match lack(reply, secret)? {
            Ok(answer) => answer,
            Err(lack) => return Ok(Err(lack)),
        };
        let mut ids: Vec<DepartmentId> = read_ids(&answer)?.items.into_iter().map(|it| it.id).collect();
        ids.sort_unstable();
        Ok(Ok(ids))
    }

    async fn try_names(&self, secret: Secret, id: DepartmentId) -> Result<Ability, Fault> {
        let request = departments::request(Api::Department, Some(id));
        let reply = self.call_with(Api::Department, secret, request).await.and_then(Reply::good);
        Ok(lack(reply, secret)?.map_or_else(Ability::Not, |_| Ability::With(secret)))
    }

    async fn look_for_ids(&self) -> Result<Ability, Fault> {
        let secret = Secret::ContactSync;
        if !self.has(secret) {
            return Ok(Ability::Not(Lack::Secret(secret)));
        }
        let request = members::ids_request(None, 1);
        let reply = self.call_with(Api::MemberIds, secret, request).await.and_then(Reply::good);
        let closed = |lack| {
            Ability::Not(if lack == Lack::Secret(Secret::App) { Lack::Forbidden(secret) } else { lack })
        };
        Ok(lack(reply, secret)?.map_or_else(closed, |_| Ability::With(secret)))
    }

    /// Looks for a member in the first departments, and at what is shown of it.
    async fn look_for_members(
        &self,
        secret: Secret,
        departments: &[DepartmentId],
    ) -> Result<(Ability, Ability), Fault> {
        for department in departments.iter().take(DEPARTMENTS_TRIED_MAX) {
            let request = members::list_request(Api::MemberNames, *department);
            let reply = self.call_with(Api::MemberNames, secret, request).await.and_then(Reply::good);
            let answer = match lack(reply, secret)? {
                Ok(answer) => answer,
                Err(lack) => return Ok((Ability::Not(lack.clone()), Ability::Not(lack))),
            };
            if let Some(somebody) = read_list(&answer)?.items.first() {
                return self.look_at(secret, &somebody.id).await;
            }
        }
        Ok((Ability::With(secret), Ability::Unknown))
    }

    async fn look_at(&self, secret: Secret, id: &UserId) -> Result<(Ability, Ability), Fault> {
        let reply =
            self.call_with(Api::Member, secret, members::member_request(id)).await.and_then(Reply::good);
        let member: Member = match lack(reply, secret)? {
            Ok(answer) => read_one(&answer, id)?,
            Err(lack) => return Ok((Ability::Not(lack.clone()), Ability::Not(lack))),
        };
        let contact_data = if member.shows_contact_data() {
            Ability::With(secret)
        } else {
            Ability::Not(Lack::Fields(secret))
        };
        Ok((Ability::With(secret), contact_data))
    }
}

/// Tells what a secret may not do from what merely failed. What the contact sync may not do is what an app is for.
fn lack<T>(reply: Result<T, Fault>, secret: Secret) -> Result<Result<T, Lack>, Fault> {
    match reply {
        Ok(it) => Ok(Ok(it)),
        Err(fault) => match fault.code {
            FORBIDDEN if secret == Secret::ContactSync => Ok(Err(Lack::Secret(Secret::App))),
            FORBIDDEN => Ok(Err(Lack::Forbidden(secret))),
            "out_of_scope" => Ok(Err(Lack::Scope(secret))),
            "secret_missing" => Ok(Err(Lack::Secret(secret))),
            "sign_in_refused" | "address_not_trusted" | "token_refused" => {
                Ok(Err(Lack::Refused { secret, what: fault.text }))
            }
            _ => Err(fault),
        },
    }
}
