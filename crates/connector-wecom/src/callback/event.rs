//! What a callback tells: the inner XML as types.
//!
//! Events are hints: partial, stale, in any order. What is absent is unknown, and so is what is not readable; only the id of
//! what changed must be there. Source: "通讯录变更事件" in <https://developer.work.weixin.qq.com/document/path/90970>.

use jiff::Timestamp;

use super::Refusal;
use super::xml::{self, Element};
use crate::{Attribute, AttributeValue, DepartmentId, UserId};

/// A message, decrypted and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `ToUserName` of what was signed: the company.
    pub to: Option<String>,
    /// `CreateTime`; it has seconds, and hundreds of events may share one.
    pub created_at: Option<Timestamp>,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `create_user`.
    MemberCreated(Box<MemberChange>),
    /// `update_user`.
    MemberUpdated(Box<MemberChange>),
    /// `delete_user`.
    MemberDeleted(UserId),
    /// `create_party`.
    DepartmentCreated(DepartmentChange),
    /// `update_party`: sent only where the parent changed to receivers set up since 2022-08-15.
    DepartmentUpdated(DepartmentChange),
    /// `delete_party`.
    DepartmentDeleted(DepartmentId),
    /// `update_tag`.
    TagUpdated(TagChange),
    /// A change of a kind that is not known here.
    UnknownChange(String),
    /// `batch_job_result`: an import or export has ended.
    BatchDone(BatchResult),
    /// No event of contacts at all, such as a text to an app.
    Other {
        /// `MsgType`.
        kind: String,
        /// `Event`, where there is one.
        event: Option<String>,
    },
}

/// What an event says of a member: for receivers set up since 2022-08-15 ids and departments only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// `UserID`; with a rename the old one.
    pub id: UserId,
    /// `NewUserID`: a rename.
    pub new_id: Option<UserId>,
    /// `Name`.
    pub name: Option<String>,
    /// `Department`: all departments after the change.
    pub departments: Option<Vec<DepartmentId>>,
    /// `MainDepartment`.
    pub main_department: Option<DepartmentId>,
    /// `IsLeaderInDept`, in the order of `departments`; may be shorter.
    pub is_leader: Option<Vec<bool>>,
    /// `DirectLeader`.
    pub direct_leaders: Option<Vec<UserId>>,
    /// `Position`.
    pub position: Option<String>,
    /// `Mobile`.
    pub mobile: Option<String>,
    /// `Gender`: 1 male, 2 female, 0 not said.
    pub gender: Option<i64>,
    /// `Email`.
    pub email: Option<String>,
    /// `BizMail`.
    pub biz_mail: Option<String>,
    /// `Status`, as in [`crate::MemberStatus`].
    pub status: Option<i64>,
    /// `Avatar`.
    pub avatar: Option<String>,
    /// `Alias`.
    pub alias: Option<String>,
    /// `Telephone`.
    pub telephone: Option<String>,
    /// `Address`.
    pub address: Option<String>,
    /// `ExtAttr`.
    pub attributes: Option<Vec<Attribute>>,
}

/// What an event says of a department.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepartmentChange {
    /// `Id`.
    pub id: DepartmentId,
    /// `Name`.
    pub name: Option<String>,
    /// `ParentId`; absent where it did not change, which is not the root.
    pub parent: Option<DepartmentId>,
    /// `Order`.
    pub order: Option<u32>,
}

/// What an event says of a tag. Its order against events of members is not guaranteed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagChange {
    /// `TagId`.
    pub id: i64,
    /// `AddUserItems`.
    pub members_added: Vec<UserId>,
    /// `DelUserItems`.
    pub members_removed: Vec<UserId>,
    /// `AddPartyItems`.
    pub departments_added: Vec<DepartmentId>,
    /// `DelPartyItems`.
    pub departments_removed: Vec<DepartmentId>,
}

/// The end of an import or export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchResult {
    /// `JobId`.
    pub id: String,
    /// `JobType`, such as `replace_user` or `export_user`.
    pub kind: String,
    /// `ErrCode`; 0 is a success.
    pub code: Option<i64>,
    /// `ErrMsg`.
    pub said: Option<String>,
}

/// Reads what was decrypted.
pub(crate) fn read(message: &[u8]) -> Result<Message, Refusal> {
    let text = std::str::from_utf8(message).map_err(|_| Refusal::Message("it is no UTF-8"))?;
    let root = xml::read(text).map_err(Refusal::Message)?;
    if root.name != "xml" {
        return Err(Refusal::Message("its root is not xml"));
    }
    if root.child("SuiteId").is_some() || root.child("InfoType").is_some() {
        return Err(Refusal::Suite);
    }
    let kind = root.text_of("MsgType").unwrap_or_default();
    let event = match (kind, root.text_of("Event")) {
        ("event", Some("change_contact")) => contact(&root)?,
        ("event", Some("batch_job_result")) => batch(&root)?,
        (_, event) => Event::Other { kind: kind.to_owned(), event: event.map(str::to_owned) },
    };
    let created_at = number(&root, "CreateTime").and_then(|seconds| Timestamp::from_second(seconds).ok());
    Ok(Message { to: root.text_of("ToUserName").map(str::to_owned), created_at, event })
}

fn contact(root: &Element) -> Result<Event, Refusal> {
    let change = root.text_of("ChangeType").ok_or(Refusal::Message("it has no ChangeType"))?.trim();
    let member = || user_id(root, "UserID").ok_or(Refusal::Message("its UserID is missing or none"));
    Ok(match change {
        "create_user" => Event::MemberCreated(Box::new(member_change(root, member()?))),
        "update_user" => Event::MemberUpdated(Box::new(member_change(root, member()?))),
        "delete_user" => Event::MemberDeleted(member()?),
        "create_party" => Event::DepartmentCreated(department_change(root)?),
        "update_party" => Event::DepartmentUpdated(department_change(root)?),
        "delete_party" => Event::DepartmentDeleted(department_change(root)?.id),
        "update_tag" => Event::TagUpdated(TagChange {
            id: number(root, "TagId").ok_or(Refusal::Message("its TagId is missing or none"))?,
            members_added: user_ids(root, "AddUserItems").unwrap_or_default(),
            members_removed: user_ids(root, "DelUserItems").unwrap_or_default(),
            departments_added: department_ids(root, "AddPartyItems").unwrap_or_default(),
            departments_removed: department_ids(root, "DelPartyItems").unwrap_or_default(),
        }),
        unknown => Event::UnknownChange(unknown.to_owned()),
    })
}

fn member_change(root: &Element, id: UserId) -> MemberChange {
    let text = |name| root.text_of(name).map(str::to_owned);
    MemberChange {
        id,
        new_id: user_id(root, "NewUserID"),
        name: text("Name"),
        departments: department_ids(root, "Department"),
        main_department: parsed(root, "MainDepartment"),
        is_leader: words(root, "IsLeaderInDept").map(|words| words.map(|word| word == "1").collect()),
        direct_leaders: user_ids(root, "DirectLeader"),
        position: text("Position"),
        mobile: text("Mobile"),
        gender: number(root, "Gender"),
        email: text("Email"),
        biz_mail: text("BizMail"),
        status: number(root, "Status"),
        avatar: text("Avatar"),
        alias: text("Alias"),
        telephone: text("Telephone"),
        address: text("Address"),
        attributes: root.child("ExtAttr").map(|list| list.children.iter().filter_map(attribute).collect()),
    }
}

fn attribute(item: &Element) -> Option<Attribute> {
    let name = item.text_of("Name")?.to_owned();
    let inner = |element: &str, name: &str| item.child(element)?.text_of(name).map(str::to_owned);
    let value = match number(item, "Type")? {
        0 => AttributeValue::Text(inner("Text", "Value")?),
        1 => AttributeValue::Web { title: inner("Web", "Title")?, url: inner("Web", "Url")? },
        other => AttributeValue::Other(other),
    };
    Some(Attribute { name, value })
}

fn department_change(root: &Element) -> Result<DepartmentChange, Refusal> {
    Ok(DepartmentChange {
        id: parsed(root, "Id").ok_or(Refusal::Message("its Id is missing or none"))?,
        name: root.text_of("Name").map(str::to_owned),
        parent: parsed(root, "ParentId"),
        order: parsed(root, "Order"),
    })
}

fn batch(root: &Element) -> Result<Event, Refusal> {
    let job = root.child("BatchJob").ok_or(Refusal::Message("it has no BatchJob"))?;
    let text = |name| job.text_of(name).map(str::to_owned);
    Ok(Event::BatchDone(BatchResult {
        id: text("JobId").ok_or(Refusal::Message("it has no JobId"))?,
        kind: text("JobType").unwrap_or_default(),
        code: number(job, "ErrCode"),
        said: text("ErrMsg"),
    }))
}

fn parsed<T: std::str::FromStr>(root: &Element, name: &str) -> Option<T> {
    root.text_of(name)?.trim().parse().ok()
}

fn number(root: &Element, name: &str) -> Option<i64> {
    parsed(root, name)
}

fn user_id(root: &Element, name: &str) -> Option<UserId> {
    UserId::new(root.text_of(name)?.trim()).ok()
}

fn words<'a>(root: &'a Element, name: &str) -> Option<impl Iterator<Item = &'a str>> {
    Some(root.text_of(name)?.split(',').map(str::trim).filter(|word| !word.is_empty()))
}

fn user_ids(root: &Element, name: &str) -> Option<Vec<UserId>> {
    Some(words(root, name)?.filter_map(|word| UserId::new(word).ok()).collect())
}

fn department_ids(root: &Element, name: &str) -> Option<Vec<DepartmentId>> {
    Some(words(root, name)?.filter_map(|word| word.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(inner: &str) -> Result<Event, Refusal> {
        let text = format!(
            "<xml><MsgType>event</MsgType><Event><![CDATA[change_contact]]></Event><CreateTime>1792000001</CreateTime>{inner}</xml>"
        );
        read(text.as_bytes()).map(|message| message.event)
    }

    #[test]
    fn what_is_absent_empty_or_broken_is_told_apart() {
        let change = |inner: &str| {
            let read = event(&format!("<ChangeType>update_user</ChangeType><UserID>a</UserID>{inner}"));
            let Ok(Event::MemberUpdated(change)) = read else { panic!("{read:?}") };
            *change
        };
        let bare = change("");
        assert_eq!((bare.name, bare.departments, bare.attributes, bare.mobile), (None, None, None, None));
        let empty = change("<Name/><Department></Department><ExtAttr/><Mobile><![CDATA[]]></Mobile>");
        assert_eq!((empty.name.as_deref(), empty.mobile.as_deref()), (Some(""), Some("")));
        assert_eq!((empty.departments, empty.attributes), (Some(vec![]), Some(vec![])));
        let broken =
            change("<MainDepartment>x</MainDepartment><Status/><Department>1,x,,3</Department><NewUserID/>");
        assert_eq!((broken.main_department, broken.status, broken.new_id), (None, None, None));
        assert_eq!(broken.departments.unwrap().len(), 2);
    }

    #[test]
    fn without_an_id_there_is_nothing_to_look_at() {
        for inner in [
            "",
            "<ChangeType>delete_user</ChangeType>",
            "<ChangeType>delete_user</ChangeType><UserID/>",
            "<ChangeType>create_party</ChangeType><Id>0</Id>",
            "<ChangeType>update_tag</ChangeType>",
        ] {
            let refusal = event(inner).unwrap_err();
            assert_eq!((refusal.name(), refusal.status()), ("message", 400), "{inner}");
        }
    }

    #[test]
    fn suites_and_texts_are_no_contacts_of_ours() {
        let suite = "<xml><SuiteId>ww4</SuiteId><AuthCorpId>ww1</AuthCorpId><InfoType>change_contact</InfoType><TimeStamp>1\
                     </TimeStamp><ChangeType>create_user</ChangeType><UserID>a</UserID></xml>";
        let refusal = read(suite.as_bytes()).unwrap_err();
        assert!(refusal == Refusal::Suite && refusal.to_string().contains("suite"), "{refusal}");
        let text = read(b"<xml><MsgType>text</MsgType><Content>hello</Content></xml>").unwrap();
        assert_eq!(text.event, Event::Other { kind: "text".to_owned(), event: None });
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(inner in "(<(ChangeType|UserID|Id|Department|ExtAttr|Item|Type)>|</(ChangeType|UserID|Id|Department|ExtAttr|Item|Type)>|create_user|1|,|\\PC){0,40}") {
            let _ = event(&inner);
        }
    }
}
