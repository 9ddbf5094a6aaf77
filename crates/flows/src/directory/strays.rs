//! Records of ours in the target that are not linked, from an earlier life of the store: the first sync hints at each.

use shared::fault::Fault;

use super::compare::Finding;
use super::first_sync::Finished;
use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::link::DepartmentLink;
use super::syncing::Portion;

/// Where the target's lists go on, as it is kept in the record.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Groups(Option<String>),
    Users(Option<String>),
}

impl Place {
    fn read(text: Option<&str>) -> Self {
        let (list, cursor) = text.and_then(|text| text.split_once(':')).unwrap_or(("groups", ""));
        let cursor = Some(cursor.to_owned()).filter(|cursor| !cursor.is_empty());
        match list {
            "users" => Self::Users(cursor),
            _ => Self::Groups(cursor),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Groups(cursor) => format!("groups:{}", cursor.as_deref().unwrap_or_default()),
            Self::Users(cursor) => format!("users:{}", cursor.as_deref().unwrap_or_default()),
        }
    }
}

impl Portion<'_> {
    /// Looks at a page of the target's lists.
    pub(super) async fn strays(&self, page: Option<&str>) -> Result<Finished, Fault> {
        let (there, next) = match Place::read(page) {
            Place::Groups(cursor) => {
                let page = self.flow.target.groups(cursor.as_deref()).await?;
                let next = page.next.map_or(Place::Users(None), |next| Place::Groups(Some(next)));
                let there = page.records.into_iter().map(|side| (side.external_id, side.target));
                (there.collect::<Vec<_>>(), Some(next))
            }
            Place::Users(cursor) => {
                let page = self.flow.target.users(cursor.as_deref()).await?;
                let there = page.records.into_iter().map(|side| (side.external_id, side.target));
                (there.collect(), page.next.map(|next| Place::Users(Some(next))))
            }
        };
        let strays = self.not_linked(there).await?;
        if !strays.is_empty() {
            tracing::info!(count = strays.len(), "Records of an earlier life are looked at.");
        }
        let keys = strays.into_iter().filter_map(|id| Finding::Extra(id).key());
        self.flow.hint_at(&self.as_sweep(), keys).await?;
        Ok(Finished { next_page: next.map(|place| place.text()), ..Finished::default() })
    }

    async fn not_linked(&self, there: Vec<(ExternalId, TargetId)>) -> Result<Vec<ExternalId>, Fault> {
        let departments: Vec<DepartmentId> = there.iter().filter_map(|(id, _)| department_of(id)).collect();
        let members: Vec<MemberId> = there.iter().filter_map(|(id, _)| member_of(id)).collect();
        let documents = &self.flow.documents;
        let mut groups = documents.department_links(&departments).await?.into_iter();
        let mut users = documents.member_links(&members).await?.into_iter();
        let mut strays = Vec::new();
        for (external_id, target) in there {
            let linked = match &external_id {
                ExternalId::Department(_) => {
                    let stored = groups.next().flatten().map(|stored| stored.link);
                    stored.as_ref().and_then(DepartmentLink::group).map(|link| link.target.clone())
                }
                ExternalId::Member(_) => users.next().flatten().map(|stored| stored.link.target),
                // Out of use, and nobody's.
                ExternalId::Retired(_) => continue,
            };
            if linked.as_ref() != Some(&target) {
                strays.push(external_id);
            }
        }
        Ok(strays)
    }
}

fn department_of(id: &ExternalId) -> Option<DepartmentId> {
    match id {
        ExternalId::Department(id) => Some(*id),
        ExternalId::Member(_) | ExternalId::Retired(_) => None,
    }
}

fn member_of(id: &ExternalId) -> Option<MemberId> {
    match id {
        ExternalId::Member(id) => Some(id.clone()),
        ExternalId::Department(_) | ExternalId::Retired(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_back() {
        for place in [
            Place::Groups(None),
            Place::Groups(Some("a:b".to_owned())),
            Place::Users(None),
            Place::Users(Some("101".to_owned())),
        ] {
            assert_eq!(Place::read(Some(&place.text())), place);
        }
        assert_eq!(Place::read(None), Place::Groups(None));
    }
}
