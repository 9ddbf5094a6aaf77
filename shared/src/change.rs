//! What happened to a record on one side since the base: the first step of every plan.

/// What one side's content says against the base both sides last agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Content equals the base.
    Same,
    /// Content differs from the base.
    Changed,
    /// The upstream says that the record is no more. Never concluded from an error or an empty page.
    Gone,
}

impl Change {
    /// Compares canonical content with the base. `None` is a record that the upstream said is gone.
    pub fn of<T: PartialEq>(base: &T, present: Option<&T>) -> Self {
        match present {
            None => Self::Gone,
            Some(content) if content == base => Self::Same,
            Some(_) => Self::Changed,
        }
    }
}

/// The outcome of a three-way comparison of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge<T> {
    /// Both sides have this value already.
    Agreed(T),
    /// The left side changed it: the right side takes it over.
    TakeLeft(T),
    /// The right side changed it: the left side takes it over.
    TakeRight(T),
    /// Both sides changed it, to different values.
    Conflict {
        /// The left side's value.
        left: T,
        /// The right side's value.
        right: T,
    },
}

impl<T: PartialEq + Clone> Merge<T> {
    /// Compares one value of both sides with the base.
    pub fn of(base: &T, left: &T, right: &T) -> Self {
        if left == right {
            Self::Agreed(left.clone())
        } else if right == base {
            Self::TakeLeft(left.clone())
        } else if left == base {
            Self::TakeRight(right.clone())
        } else {
            Self::Conflict { left: left.clone(), right: right.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_three_values_has_its_outcome() {
        assert_eq!(Merge::of(&1, &1, &1), Merge::Agreed(1));
        assert_eq!(Merge::of(&1, &2, &2), Merge::Agreed(2));
        assert_eq!(Merge::of(&1, &2, &1), Merge::TakeLeft(2));
        assert_eq!(Merge::of(&1, &1, &2), Merge::TakeRight(2));
        assert_eq!(Merge::of(&1, &2, &3), Merge::Conflict { left: 2, right: 3 });
    }

    #[test]
    fn a_missing_record_is_gone() {
        assert_eq!(Change::of(&1, None), Change::Gone);
        assert_eq!(Change::of(&1, Some(&1)), Change::Same);
        assert_eq!(Change::of(&1, Some(&2)), Change::Changed);
    }
}
