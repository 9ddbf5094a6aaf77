//! Records: get, list, total, create, update, delete.

use http_client::{Answer, Method, Request};
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::fault::{Fault, FaultKind};

use crate::{EntityType, EspoCrm, EspoId, ListQuery, Patch, Record, error, wire};

/// What a create led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// The new record; attributes that are null are left out of it.
    Record(Record),
    /// Nothing was created: these records look like it (same name or e-mail address).
    Duplicates(Vec<Record>),
}

/// Whether the server looks for duplicates before it creates. Its look is not atomic: equal creates side by side
/// can all succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateCheck {
    /// As the entity type is set up.
    AsConfigured,
    /// Not at all (`X-Skip-Duplicate-Check`).
    Skip,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its records, in order; never empty while `next_offset` is set.
    pub records: Vec<Record>,
    /// Where the next page starts; `None` when this was the last.
    pub next_offset: Option<u64>,
}

impl EspoCrm {
    /// Reads a record: `GET {type}/{id}`. `None` when it does not exist or was deleted. Safe to repeat.
    ///
    /// # Errors
    /// Permanent `entity_type_unknown` and `forbidden` (which comes before the question whether it exists);
    /// `answer_unreadable` for an error page with a good status; what is common to all operations: `unauthorized`
    /// and `locked_out` (the account pauses), `upstream_failed`, `throttled`, and the faults of
    /// [`http_client::Upstream::send`].
    pub async fn get(&self, entity_type: &EntityType, id: &EspoId) -> Result<Option<Record>, Fault> {
        read_get(&self.send(get_request(entity_type, id)).await?, entity_type)
    }

    /// Lists a page: `GET {type}?searchParams=…`, with `X-No-Total`, since counting is slow. Lists never carry
    /// `phoneNumberData` and `emailAddressData`. Safe to repeat.
    ///
    /// # Errors
    /// Permanent `request_refused` for an unknown attribute; retryable `answer_unreadable` where the list is
    /// missing, or empty although more should follow: never an empty list. Else as [`Self::get`].
    pub async fn list(&self, entity_type: &EntityType, query: &ListQuery) -> Result<Page, Fault> {
        read_list(&self.send(list_request(entity_type, query)).await?, entity_type, query.offset)
    }

    /// All pages of a list, one after the other, by offset: records that change their place meanwhile can be
    /// missed or come twice. Holds one page in memory.
    pub fn pages(&self, entity_type: &EntityType, query: ListQuery) -> Pages<'_> {
        Pages { crm: self, entity_type: entity_type.clone(), next: Some(query) }
    }

    /// Counts records. `page_size`, `offset` and `select` of the query do not matter. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn total(&self, entity_type: &EntityType, query: &ListQuery) -> Result<u64, Fault> {
        read_total(&self.send(total_request(entity_type, query)).await?)
    }

    /// Creates a record: `POST {type}`. NOT safe to repeat: see [`crate::may_have_taken_effect`].
    ///
    /// # Errors
    /// Permanent `validation_failed` (names the first bad field), `attributes_dropped` (names what the server did
    /// not keep; the record exists); else as [`Self::get`].
    pub async fn create(
        &self,
        entity_type: &EntityType,
        attributes: &Patch,
        duplicates: DuplicateCheck,
    ) -> Result<Created, Fault> {
        let answer = self.send(create_request(entity_type, attributes, duplicates)).await?;
        read_create(&answer, entity_type, attributes)
    }

    /// Writes some attributes: `PUT {type}/{id}`, and compares the answer with what was sent, since EspoCRM drops
    /// unknown and read-only attributes without a word. `None` when the record does not exist. Safe to repeat,
    /// but every call moves `modifiedAt`, so never write what does not differ.
    ///
    /// `version` is [`Record::version`] of the record that was read; without one nothing protects against a write
    /// in between.
    ///
    /// # Errors
    /// Conflict `modified` for a stale version; permanent `validation_failed` (nothing was written) and
    /// `attributes_dropped` (the others were); a bug for an empty patch; else as [`Self::get`].
    pub async fn update(
        &self,
        entity_type: &EntityType,
        id: &EspoId,
        patch: &Patch,
        version: Option<u64>,
    ) -> Result<Option<Record>, Fault> {
        if patch.is_empty() {
            let text = format!("{entity_type} {id} was to be written without a change.");
            return Err(Fault::bug("empty_patch", text));
        }
        let answer = self.send(update_request(entity_type, id, patch, version)).await?;
        read_update(&answer, entity_type, patch)
    }

    /// Deletes a record: `DELETE {type}/{id}`. Answers whether it existed until then. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn delete(&self, entity_type: &EntityType, id: &EspoId) -> Result<bool, Fault> {
        read_delete(&self.send(delete_request(entity_type, id)).await?)
    }
}

/// The pages of a list that are still to come.
#[derive(Debug)]
pub struct Pages<'a> {
    crm: &'a EspoCrm,
    entity_type: EntityType,
    next: Option<ListQuery>,
}

impl Pages<'_> {
    /// The next page; `None` after the last. After a fault the same page is asked for again.
    ///
    /// # Errors
    /// As [`EspoCrm::list`].
    pub async fn next(&mut self) -> Result<Option<Page>, Fault> {
        let Some(query) = &self.next else { return Ok(None) };
        let page = self.crm.list(&self.entity_type, query).await?;
        self.next = page.next_offset.map(|offset| ListQuery { offset, ..query.clone() });
        Ok(Some(page))
    }
}

fn get_request(entity_type: &EntityType, id: &EspoId) -> Request {
    Request::new(Method::Get, format!("{entity_type}/{{id}}"), &[id.as_str()])
}

fn read_get(answer: &Answer, entity_type: &EntityType) -> Result<Option<Record>, Fault> {
    if error::is_gone(answer) {
        return Ok(None);
    }
    let record = read_record(error::success(answer)?, entity_type)?;
    // An administrator is shown what was deleted.
    let is_deleted = record.attributes().get("deleted") == Some(&Value::Bool(true));
    Ok((!is_deleted).then_some(record))
}

fn list_request(entity_type: &EntityType, query: &ListQuery) -> Request {
    Request::new(Method::Get, entity_type.as_str(), &[])
        .query("searchParams", query.to_json().to_string())
        .header("x-no-total", "true")
}

#[derive(Deserialize)]
struct WireList {
    total: i64,
    list: Vec<Map<String, Value>>,
}

fn read_list(answer: &Answer, entity_type: &EntityType, offset: u64) -> Result<Page, Fault> {
    let WireList { total, list } = error::success(answer)?.json()?;
    let end = offset.saturating_add(list.len() as u64);
    // -1: more follow; -2: this was the last page; a number where the server counted nevertheless.
    let more = match u64::try_from(total) {
        Ok(total) => end < total,
        Err(_) => total == -1,
    };
    if more && list.is_empty() {
        return Err(answer.unreadable("an empty list, although it says that more follows"));
    }
    Ok(Page { records: read_records(answer, entity_type, list)?, next_offset: more.then_some(end) })
}

fn total_request(entity_type: &EntityType, query: &ListQuery) -> Request {
    let counting = ListQuery { page_size: 0, offset: 0, select: vec![], order_by: None, ..query.clone() };
    Request::new(Method::Get, entity_type.as_str(), &[]).query("searchParams", counting.to_json().to_string())
}

fn read_total(answer: &Answer) -> Result<u64, Fault> {
    let WireList { total, .. } = error::success(answer)?.json()?;
    u64::try_from(total).map_err(|_| answer.unreadable("a list without its total"))
}

fn create_request(entity_type: &EntityType, attributes: &Patch, duplicates: DuplicateCheck) -> Request {
    let request = Request::new(Method::Post, entity_type.as_str(), &[]).json(attributes);
    match duplicates {
        DuplicateCheck::AsConfigured => request,
        DuplicateCheck::Skip => request.header("x-skip-duplicate-check", "true"),
    }
}

fn read_create(answer: &Answer, entity_type: &EntityType, sent: &Patch) -> Result<Created, Fault> {
    if answer.status() == 409 && error::reason(answer) == "duplicate" {
        let list: Vec<Map<String, Value>> = answer.json()?;
        return read_records(answer, entity_type, list).map(Created::Duplicates);
    }
    let record = read_record(error::success(answer)?, entity_type)?;
    check_kept(answer, sent, &record, true)?;
    Ok(Created::Record(record))
}

fn update_request(entity_type: &EntityType, id: &EspoId, patch: &Patch, version: Option<u64>) -> Request {
    let request = Request::new(Method::Put, format!("{entity_type}/{{id}}"), &[id.as_str()]).json(patch);
    match version {
        Some(version) => request.header("x-version-number", version.to_string()),
        None => request,
    }
}

fn read_update(answer: &Answer, entity_type: &EntityType, sent: &Patch) -> Result<Option<Record>, Fault> {
    if error::is_gone(answer) {
        return Ok(None);
    }
    let record = read_record(error::success(answer)?, entity_type)?;
    check_kept(answer, sent, &record, false)?;
    Ok(Some(record))
}

fn delete_request(entity_type: &EntityType, id: &EspoId) -> Request {
    Request::new(Method::Delete, format!("{entity_type}/{{id}}"), &[id.as_str()])
}

fn read_delete(answer: &Answer) -> Result<bool, Fault> {
    if error::is_gone(answer) {
        return Ok(false);
    }
    match error::success(answer)?.json::<bool>()? {
        true => Ok(true),
        false => Err(answer.fault(
            FaultKind::Retryable { after: None },
            "delete_refused",
            format!("EspoCRM answered {} with false: nothing was deleted.", answer.operation()),
        )),
    }
}

fn check_kept(answer: &Answer, sent: &Patch, record: &Record, created: bool) -> Result<(), Fault> {
    let dropped = wire::dropped(sent, record.attributes(), created);
    if dropped.is_empty() { Ok(()) } else { Err(error::dropped(answer, &dropped)) }
}

/// Reads an answer that is one record.
pub(crate) fn read_record(answer: &Answer, entity_type: &EntityType) -> Result<Record, Fault> {
    let attributes: Map<String, Value> = answer.json()?;
    Record::new(entity_type.clone(), attributes).map_err(|what| answer.unreadable(&what))
}

fn read_records(
    answer: &Answer,
    entity_type: &EntityType,
    list: Vec<Map<String, Value>>,
) -> Result<Vec<Record>, Fault> {
    let records = list.into_iter().map(|attributes| Record::new(entity_type.clone(), attributes));
    records.collect::<Result<_, _>>().map_err(|what| answer.unreadable(&what))
}

#[cfg(test)]
mod tests;
