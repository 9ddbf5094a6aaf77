//! What to list, from what the cursor asks for, and back. Pure.
//!
//! Google wants the parameters of the first page with each further one; for what has no token of its own they stand in
//! the text of the page.

use connector_google::{Listing, Range};
use jiff::Timestamp;

use crate::calendar::cursor::Request;

/// What to list, and which page of it; none for a text that is not ours.
pub fn read(request: &Request) -> Option<(Listing, Option<String>)> {
    match request {
        Request::Full(window) => Some((Listing::Full(window.from), None)),
        Request::Listing(window) => Some((Listing::Range(Range { from: window.from, to: window.to }), None)),
        Request::Changes(token) => Some((Listing::Changes(token.clone()), None)),
        Request::Page { page, token: Some(token) } => {
            Some((Listing::Changes(token.clone()), Some(page.clone())))
        }
        Request::Page { page, token: None } => {
            let mut parts = page.splitn(3, '|');
            let from = parts.next()?.parse::<Timestamp>().ok()?;
            let listing = match parts.next()? {
                "" => Listing::Full(from),
                to => Listing::Range(Range { from, to: to.parse().ok()? }),
            };
            Some((listing, Some(parts.next()?.to_owned())))
        }
    }
}

/// The text of a further page.
pub fn text(listing: &Listing, page: &str) -> String {
    match listing {
        Listing::Full(from) => format!("{from}||{page}"),
        Listing::Range(Range { from, to }) => format!("{from}|{to}|{page}"),
        Listing::Changes(_) | Listing::Property { .. } => page.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::calendar::event::Window;

    proptest! {
        #[test]
        fn further_pages_are_of_what_the_first_one_was_of(
            from in -1_000_000_000_i64..4_000_000_000, nanos in 0_i32..1_000_000_000, days in 1_i64..1_000,
            page in "[ -~]{1,40}", kind in 0_u8..3,
        ) {
            let from = Timestamp::new(from, nanos).unwrap();
            let window = Window { from, to: Timestamp::from_second(from.as_second() + days * 86_400).unwrap() };
            let (first, token) = match kind {
                0 => (Request::Full(window), None),
                1 => (Request::Listing(window), None),
                _ => (Request::Changes("T=".to_owned()), Some("T=".to_owned())),
            };
            let (listing, _) = read(&first).unwrap();
            let next = Request::Page { page: text(&listing, &page), token };
            prop_assert_eq!(read(&next), Some((listing, Some(page))));
        }

        #[test]
        fn no_text_makes_it_panic(page in "\\PC{0,60}") {
            let _ = read(&Request::Page { page, token: None });
        }
    }
}
