//! Links between records: `POST` and `DELETE` of `{type}/{id}/{link}`, many at once.

use http_client::{Answer, Method, Request};
use serde_json::json;
use shared::fault::{Fault, FaultKind};

use crate::{EntityType, EspoCrm, EspoId, error};

/// What became of linking or unlinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Related {
    /// All of it is done; who was linked already, or was not, is no error.
    Done,
    /// The record or one of those to be linked is not there; EspoCRM does not say which. Of several, some may be done.
    NotThere,
}

impl EspoCrm {
    /// Links records: `POST {type}/{id}/{link}`, one after the other on the server. Safe to repeat.
    ///
    /// # Errors
    /// Permanent `link_unknown`; else as [`EspoCrm::get`].
    pub async fn link(
        &self,
        entity_type: &EntityType,
        id: &EspoId,
        link: &'static str,
        others: &[EspoId],
    ) -> Result<Related, Fault> {
        self.relate(Method::Post, entity_type, id, link, others).await
    }

    /// Takes links away: `DELETE {type}/{id}/{link}`. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::link`].
    pub async fn unlink(
        &self,
        entity_type: &EntityType,
        id: &EspoId,
        link: &'static str,
        others: &[EspoId],
    ) -> Result<Related, Fault> {
        self.relate(Method::Delete, entity_type, id, link, others).await
    }

    async fn relate(
        &self,
        method: Method,
        entity_type: &EntityType,
        id: &EspoId,
        link: &'static str,
        others: &[EspoId],
    ) -> Result<Related, Fault> {
        if others.is_empty() {
            return Ok(Related::Done);
        }
        read(&self.send(request(method, entity_type, id, link, others)).await?)
    }
}

fn request(
    method: Method,
    entity_type: &EntityType,
    id: &EspoId,
    link: &'static str,
    others: &[EspoId],
) -> Request {
    Request::new(method, format!("{entity_type}/{{id}}/{link}"), &[id.as_str()])
        .json(&json!({ "ids": others }))
}

fn read(answer: &Answer) -> Result<Related, Fault> {
    // `Core/Record/Service.php`: a record that is not there is a 404 without a reason; an unknown path has a body.
    if answer.status() == 404 && !answer.is_html() && answer.body().is_empty() {
        return match error::reason(answer) {
            "" => Ok(Related::NotThere),
            reason if reason.contains("does not have link") => {
                let text = format!("EspoCRM refuses {}: {reason}", answer.operation());
                Err(answer.fault(FaultKind::Permanent, "link_unknown", text))
            }
            _ => Err(error::fault(answer)),
        };
    }
    match error::success(answer)?.json::<bool>()? {
        true => Ok(Related::Done),
        false => Err(answer.unreadable("nothing was linked, although something was to be")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_recorded_links() {
        let many = fixtures::load("181-relate-many");
        let entity = EntityType::new("CAkte").unwrap();
        let id = |text: &str| EspoId::new(text).unwrap();
        let others = [id("6b00526cc80a09e94"), id("6b0052e277c0e1ed0")];
        let ours = request(Method::Post, &entity, &id("6b005505e3d02475d"), "beteiligte", &others);
        assert_eq!(ours.path(), many.target);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(ours.body()).unwrap(), many.request_json());
        for name in ["180-relate", "181-relate-many", "184-unrelate"] {
            assert_eq!(read(&fixtures::load(name).answer("")).unwrap(), Related::Done, "{name}");
        }
        let unknown = read(&fixtures::load("185-relate-unknown-link").answer("")).unwrap_err();
        assert_eq!((unknown.kind.name(), unknown.code), ("permanent", "link_unknown"));
    }

    #[test]
    fn who_is_not_there_is_told_apart_from_a_path_that_is_not() {
        let at = |status, kind, body: &'static str| {
            read(&Answer::recorded(
                "espocrm",
                "POST Team/{id}/users",
                status,
                &[("Content-Type", kind)],
                body,
            ))
        };
        assert_eq!(at(404, "application/json", "").unwrap(), Related::NotThere);
        let route = fixtures::load("046-404-unknown-route").answer("POST Team/{id}/users");
        assert_eq!(read(&route).unwrap_err().code, "route_unknown");
        assert!(at(404, "text/html", "").is_err());
        assert!(at(200, "application/json", "false").is_err());
    }
}
