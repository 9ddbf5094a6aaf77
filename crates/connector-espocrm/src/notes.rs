//! Telling a user something: stream posts (`Note`), since API users may not create notifications.

use http_client::{Answer, Method, Request};
use serde_json::{Map, Value, json};
use shared::fault::Fault;

use crate::{EntityType, EspoCrm, EspoId, error};

/// A user to whom a post is addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRef {
    /// The user's id.
    pub id: EspoId,
    /// The user's name, for display only.
    pub name: String,
}

impl EspoCrm {
    /// Posts to users, each of whom gets an in-app notification: `POST Note`. `post` is Markdown. NOT safe to
    /// repeat: it makes a second post. Answers the post's id.
    ///
    /// # Errors
    /// Permanent `forbidden` where the API user's role lacks the message permission; else as
    /// [`EspoCrm::create`].
    pub async fn note_to_users(&self, users: &[UserRef], post: &str) -> Result<EspoId, Fault> {
        read_note(&self.send(note_to_users_request(users, post)).await?)
    }

    /// Posts on a record's stream: `POST Note`. Followers of the record are notified; an `@user` in the text only
    /// where the role has the mention permission and that user may read the record. NOT safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::create`].
    pub async fn note_on_record(
        &self,
        entity_type: &EntityType,
        id: &EspoId,
        post: &str,
    ) -> Result<EspoId, Fault> {
        read_note(&self.send(note_on_record_request(entity_type, id, post)).await?)
    }
}

fn note_to_users_request(users: &[UserRef], post: &str) -> Request {
    let ids: Vec<&str> = users.iter().map(|user| user.id.as_str()).collect();
    let names: Map<String, Value> =
        users.iter().map(|user| (user.id.to_string(), Value::from(user.name.as_str()))).collect();
    Request::new(Method::Post, "Note", &[]).json(&json!({
        "type": "Post", "targetType": "users", "usersIds": ids, "usersNames": names, "post": post,
    }))
}

fn note_on_record_request(entity_type: &EntityType, id: &EspoId, post: &str) -> Request {
    Request::new(Method::Post, "Note", &[]).json(&json!({
        "type": "Post", "parentType": entity_type, "parentId": id, "post": post,
    }))
}

fn read_note(answer: &Answer) -> Result<EspoId, Fault> {
    let attributes: Map<String, Value> = error::success(answer)?.json()?;
    let id = attributes.get("id").and_then(Value::as_str).and_then(|id| EspoId::new(id).ok());
    id.ok_or_else(|| answer.unreadable("a post without id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn body(request: &Request) -> Value {
        serde_json::from_slice(request.body()).unwrap()
    }

    #[test]
    fn a_post_to_a_user_is_the_recorded_one() {
        let recorded = fixtures::load("302-note-to-user");
        let user = UserRef { id: EspoId::new("6b0052294e41f2ecf").unwrap(), name: "Anna Anwalt".into() };
        let request =
            note_to_users_request(&[user], "Bitte prüfen: Konflikt bei **Mustermann** (BetNr 104860)");
        assert_eq!(body(&request), recorded.request_json());
        assert_eq!(read_note(&recorded.answer("")).unwrap().as_str(), "6b0054023045199c5");
        let refused = fixtures::load("305-note-no-message-permission").answer("");
        assert_eq!(read_note(&refused).unwrap_err().code, "forbidden");
    }

    #[test]
    fn a_post_on_a_record_is_the_recorded_one() {
        let recorded = fixtures::load("303-note-on-record-with-mention");
        let request = note_on_record_request(
            &EntityType::new("CBeteiligte").unwrap(),
            &EspoId::new("6b00526cc80a09e94").unwrap(),
            "Nochmal: @anna bitte prüfen",
        );
        assert_eq!(body(&request), recorded.request_json());
        assert_eq!(read_note(&recorded.answer("")).unwrap().as_str(), "6b00550503a20a7e4");
    }
}
