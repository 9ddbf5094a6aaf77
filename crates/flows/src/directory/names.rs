//! Names as the target can take them. Pure.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

/// Between the names of a path.
pub const SEPARATOR: &str = " / ";
/// Hexadecimal digits that stand for what was cut off a name.
const DIGITS: usize = 8;
/// Family names of two characters.
const DOUBLE_SURNAMES: &str = "欧阳 太史 端木 上官 司马 东方 独孤 南宫 万俟 闻人 夏侯 诸葛 尉迟 公羊 赫连 澹台 皇甫 \
    宗政 濮阳 公冶 太叔 申屠 公孙 慕容 仲孙 钟离 长孙 宇文 司徒 鲜于 司空 令狐 百里 呼延 东郭 南门 西门 第五";

/// The family names of two characters that are known without being told.
pub fn double_surnames() -> BTreeSet<String> {
    DOUBLE_SURNAMES.split_whitespace().map(str::to_owned).collect()
}

/// Without control characters and blanks around.
pub fn clean(name: &str) -> String {
    let visible: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible.trim().to_owned()
}

/// The names on the way to a department, as one. A slash within a name cannot be taken for one between two.
pub fn path<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.replace('/', "／")).collect();
    names.join(SEPARATOR)
}

/// The name within so many characters. What is cut off is told apart by its hash: the same name is always cut in the
/// same way, different ones differently.
pub fn shorten(name: &str, chars_max: usize) -> String {
    if name.chars().count() <= chars_max {
        return name.to_owned();
    }
    let digits = hex::encode(Sha256::digest(name.as_bytes()));
    let end = format!("…{}", &digits[..DIGITS]);
    let kept: String = name.chars().take(chars_max.saturating_sub(end.chars().count())).collect();
    format!("{}{end}", kept.trim_end())
}

/// A person's name in two parts, neither of them empty unless the name is: some targets insist on both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitName {
    /// The family name.
    pub family: String,
    /// The given name.
    pub given: String,
}

/// Splits a name: a Chinese one after its first character, or after a family name of two; others before the last word.
pub fn split(name: &str, double_surnames: &BTreeSet<String>) -> SplitName {
    let name = clean(name);
    let part = |family: &str, given: &str| SplitName { family: family.to_owned(), given: given.to_owned() };
    if let Some((given, family)) = name.rsplit_once(char::is_whitespace) {
        return part(family.trim(), given.trim());
    }
    let ends: Vec<usize> = name.char_indices().skip(1).map(|(at, _)| at).collect();
    let is_chinese = name.chars().all(|c| matches!(c, '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}'));
    if !is_chinese {
        return part(&name, &name);
    }
    match ends[..] {
        [] => part(&name, &name),
        [_, second, ..] if double_surnames.contains(&name[..second]) => {
            part(&name[..second], &name[second..])
        }
        [first, ..] => part(&name[..first], &name[first..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split() {
        let known = double_surnames();
        for (name, family, given) in [
            ("张三", "张", "三"),
            ("欧阳总", "欧阳", "总"),
            ("欧阳", "欧", "阳"),
            ("甲", "甲", "甲"),
            ("Ada Mary King", "King", "Ada Mary"),
            ("Plato", "Plato", "Plato"),
            ("Li四", "Li四", "Li四"),
            (" 李四\n", "李", "四"),
            ("", "", ""),
        ] {
            let expected = SplitName { family: family.to_owned(), given: given.to_owned() };
            assert_eq!(split(name, &known), expected, "{name}");
        }
        assert_eq!(split("欧阳总", &BTreeSet::new()).family, "欧");
    }

    #[test]
    fn long_names_are_cut_so_that_they_still_differ() {
        let long = "部".repeat(120);
        let (one, other) = (shorten(&format!("{long}1"), 100), shorten(&format!("{long}2"), 100));
        assert_eq!(one.chars().count(), 100);
        assert_ne!(one, other);
        assert_eq!(one, shorten(&format!("{long}1"), 100));
        assert_eq!(shorten("短", 100), "短");
        assert_eq!(shorten("abcdefghijk", 3).chars().count(), 9, "the hash is never cut");
    }

    #[test]
    fn a_slash_in_a_name_is_no_level() {
        assert_eq!(path(["研发中心", "平台部"]), "研发中心 / 平台部");
        assert_ne!(path(["A / B"]), path(["A", "B"]));
    }
}
