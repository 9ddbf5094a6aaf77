//! Names that never repeat within one set of data.

const FAMILIES: [&str; 32] = [
    "Müller",
    "Schmidt",
    "Schneider",
    "Fischer",
    "Weber",
    "Meyer",
    "Wagner",
    "Becker",
    "Schulz",
    "Hoffmann",
    "Schäfer",
    "Koch",
    "Bauer",
    "Richter",
    "Klein",
    "Wolf",
    "Schröder",
    "Neumann",
    "Schwarz",
    "Zimmermann",
    "Braun",
    "Krüger",
    "Hofmann",
    "Hartmann",
    "Lange",
    "Werner",
    "Krause",
    "Lehmann",
    "Köhler",
    "Maier",
    "Weiß",
    "Jäger",
];
const FIRST: [&str; 16] = [
    "Anna",
    "Jürgen",
    "Erika",
    "Max",
    "Zoë",
    "Karl-Heinz",
    "Søren",
    "Paula",
    "Łukasz",
    "Renée",
    "Björn",
    "Ayşe",
    "Hans",
    "Jana",
    "Mehmet",
    "Grete",
];
const TRADES: [&str; 8] = [
    "Bau",
    "Handel",
    "Immobilien",
    "Maschinenbau",
    "Logistik",
    "Verwaltung",
    "Beteiligungen",
    "Söhne & Partner",
];

/// First and last name, easily broken by careless code. The last one is decomposed (NFD).
const ODD: [(&str, &str); 10] = [
    ("Marie-Thérèse", "Müller-Lüdenscheidt"),
    ("Sinéad", "O'Brien"),
    ("Giovanni", "D\u{2019}Angelo"),
    ("Anna  Maria", "von   der Heide"),
    ("Prof. Dr. h. c. Karl", "Freiherr von und zu Guttenstein"),
    ("מֹשֶׁה", "לֵוִי"),
    ("محمد", "عبد الله"),
    ("Nguyễn", "Thị Ánh"),
    ("Ὀδυσσεύς", "Ἰθακήσιος"),
    ("Ju\u{308}rgen", "Gro\u{308}nemeyer"),
];

fn at<T: Copy>(list: &[T], index: usize) -> Option<T> {
    list.get(index % list.len()).copied()
}

/// A family name of its own for each number.
fn family(number: usize) -> String {
    let single = at(&FAMILIES, number).unwrap_or_default();
    match number / FAMILIES.len() {
        0 => single.to_owned(),
        round if round < FAMILIES.len() => {
            format!("{single}-{}", at(&FAMILIES, number + round).unwrap_or_default())
        }
        round => format!("{single} {round}"),
    }
}

/// First and last name of a person.
pub(super) fn person(number: usize) -> (String, String) {
    (at(&FIRST, number * 7 + number / 16).unwrap_or_default().to_owned(), family(number))
}

/// Name of a company.
pub(super) fn company(number: usize) -> String {
    format!("{} {}", family(number), at(&TRADES, number * 3 + number / 8).unwrap_or_default())
}

/// First and last name of a person whose name is easily broken.
pub(super) fn odd(number: usize) -> (String, String) {
    let (first, last) = at(&ODD, number).unwrap_or_default();
    match number / ODD.len() {
        0 => (first.to_owned(), last.to_owned()),
        round => (first.to_owned(), format!("{last} {}", family(round))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_comes_twice() {
        let people: BTreeSet<_> = (0..5_000).map(person).collect();
        let companies: BTreeSet<_> = (0..5_000).map(company).collect();
        let odd: BTreeSet<_> = (0..500).map(odd).collect();
        assert_eq!((people.len(), companies.len(), odd.len()), (5_000, 5_000, 500));
    }
}
