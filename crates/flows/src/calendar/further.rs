//! What is carried over only where it is asked for (`flow.calendar.fields`). Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::event::{Event, Field, line};

/// Categories at most.
pub const CATEGORIES_MAX: usize = 50;

/// How important it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Importance {
    /// Low.
    Low,
    /// Neither.
    #[default]
    Normal,
    /// High.
    High,
}

/// What an event says beside what is always carried over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Further {
    /// Outlook's categories: names, in any order. Each mailbox has its own.
    pub categories: BTreeSet<String>,
    /// How important it is. Google knows nothing of it.
    pub importance: Importance,
    /// Where it is shown in the browser. Made by the calendar, never written to it.
    pub web_link: Option<String>,
}

impl Further {
    /// The form that is compared.
    pub(super) fn normalized(self) -> Self {
        let categories = self.categories.iter().map(|category| line(category));
        Self {
            categories: categories.filter(|category| !category.is_empty()).collect(),
            importance: self.importance,
            web_link: self.web_link.map(|link| line(&link)).filter(|link| !link.is_empty()),
        }
    }
}

/// Which of it is carried over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried(BTreeSet<Field>);

impl Carried {
    /// The words of the setting.
    pub const WORDS: [(&str, Field); 3] =
        [("categories", Field::Categories), ("importance", Field::Importance), ("web_link", Field::WebLink)];

    /// By the words of the setting; those that it does not have are left out.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let field = |word: &str| Self::WORDS.iter().find(|(own, _)| *own == word).map(|(_, field)| *field);
        Self(words.into_iter().filter_map(field).collect())
    }

    /// Whether a field is.
    pub fn has(&self, field: Field) -> bool {
        self.0.contains(&field)
    }

    /// The event with no more of it than is carried over: the rest counts as not said.
    #[must_use]
    pub fn keep(&self, event: Event) -> Event {
        let Further { categories, importance, web_link } = event.further;
        let further = Further {
            categories: if self.has(Field::Categories) { categories } else { BTreeSet::new() },
            importance: if self.has(Field::Importance) { importance } else { Importance::default() },
            web_link: web_link.filter(|_| self.has(Field::WebLink)),
        };
        Event { further, ..event }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::simple;
    use super::*;

    #[test]
    fn what_is_not_asked_for_counts_as_not_said() {
        let further = Further {
            categories: BTreeSet::from(["Frist".to_owned()]),
            importance: Importance::High,
            web_link: Some("https://outlook.example/1".to_owned()),
        };
        let event = Event { further, ..simple("A") };
        assert_eq!(Carried::default().keep(event.clone()), simple("A"));
        for (word, field) in Carried::WORDS {
            let kept = Carried::of([word, "unheard of"]).keep(event.clone());
            assert_eq!(kept.differences(&simple("A")), [field]);
            assert!(kept.same(&event, field));
        }
    }
}
