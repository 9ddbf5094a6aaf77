//! Filters. Only `eq` is understood everywhere, so only that is sent. RFC 7644, section 3.4.2.2.

use serde_json::Value;

/// `attribute eq "value"`: the value is quoted as a JSON text. The encoding for the address is `http-client`'s.
pub(crate) fn eq(attribute: &str, value: &str) -> String {
    format!("{attribute} eq {}", Value::from(value))
}

/// `members[value eq "…"]`, as the path of a removal.
pub(crate) fn member(id: &str) -> String {
    format!("members[{}]", eq("value", id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    #[test]
    fn filters_are_as_recorded() {
        for (name, expected) in [
            ("016-filter-group-externalid", eq("externalId", "wecom:dept:2")),
            ("033-filter-externalid", eq("externalId", "wecom:user:lisi")),
            ("034-filter-username", eq("userName", "LISI")),
            ("036-filter-no-match", eq("externalId", "wecom:user:nobody")),
        ] {
            assert_eq!(fixtures::load(name).query("filter"), Some(expected), "{name}");
        }
        let removals = fixtures::load("019-remove-bad-members").request_json();
        assert_eq!(removals["Operations"][0]["path"], member("no-such-id"));
    }

    proptest! {
        /// Whatever the value holds, it stays one value: nobody's name ends the quotes and goes on as a filter.
        #[test]
        fn a_value_stays_one_value(value in any::<String>()) {
            let filter = eq("externalId", &value);
            let quoted = filter.strip_prefix("externalId eq ").unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(quoted).unwrap(), value);
            prop_assert!(!quoted.contains(|c: char| c < ' '));
        }
    }
}
