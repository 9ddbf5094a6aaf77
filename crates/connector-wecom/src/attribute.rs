//! Extended attributes of a member: what a company adds by itself.

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// `type` 0.
    Text(String),
    /// `type` 1.
    Web {
        /// What is shown.
        title: String,
        /// Where it leads.
        url: String,
    },
    /// A type that is not known here (a mini program is 2).
    Other(i64),
}
