//! Ids: the service's own, opaque, put into addresses as one segment.

use shared::fault::Fault;
use url::Url;

/// Longest id that is used.
const ID_BYTES_MAX: usize = 1_024;

/// Whether an id can be put into an address. A segment `..` would lead to the collection above it.
pub(crate) fn is_usable(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id != "." && id != ".."
}

/// An id that can be put into an address.
pub(crate) fn checked(id: &str) -> Result<&str, Fault> {
    if is_usable(id) {
        return Ok(id);
    }
    let text = format!("An id of {} bytes cannot be the id of a SCIM resource; nothing was sent.", id.len());
    Err(Fault::permanent("id_invalid", text))
}

/// `/Users/{id}`, as the path of an operation in a bulk request.
pub(crate) fn path(endpoint: &str, id: &str) -> String {
    let mut path = format!("/{endpoint}");
    // The host does not matter: it is left out again.
    if let Ok(mut url) = Url::parse("https://scim.invalid/") {
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().push(id);
        }
        path.push_str(url.path());
    }
    path
}

/// The id in a `location`, absolute or not: the last part of its path.
pub(crate) fn of_location(location: &str) -> Option<String> {
    let path = location.split(['?', '#']).next()?.trim_end_matches('/');
    let id = decoded(path.rsplit('/').next()?)?;
    is_usable(&id).then_some(id)
}

fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..)?;
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_that_leads_elsewhere_is_refused() {
        for bad in ["", ".", "..", &"x".repeat(1_025)] {
            assert_eq!(checked(bad).unwrap_err().code, "id_invalid");
        }
        assert_eq!(checked("a/b").unwrap(), "a/b");
        assert_eq!(path("Users", "a/b c"), "/Users/a%2Fb%20c");
        assert_eq!(path("Groups", "bulkId:o1"), "/Groups/bulkId:o1");
    }

    #[test]
    fn an_id_is_the_last_part_of_its_location() {
        for location in ["https://scim.example.test/v2/Users/af64", "/v2/Users/af64", "Users/af64/"] {
            assert_eq!(of_location(location).as_deref(), Some("af64"), "{location}");
        }
        for none in ["", "/", "https://scim.example.test/v2/.."] {
            assert_eq!(of_location(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_into_a_path_comes_out_of_it(id in "\\PC{1,40}") {
            prop_assume!(is_usable(&id));
            let path = path("Users", &id);
            prop_assert_eq!(path.matches('/').count(), 2);
            prop_assert_eq!(of_location(&path), Some(id));
        }
    }
}
