//! Bodies: text, and the block by which people join an online meeting, which stands in the body and must be carried on when
//! it is written, or the link is lost. Pure.

/// Underscores that make a line: the block stands between two of them, in whatever language.
const LINE_CHARS_MIN: usize = 20;
/// What the block certainly names.
const TEAMS: [&str; 3] = ["Microsoft Teams", "teams.microsoft.com", "teams.live.com"];

fn is_line(line: &str) -> bool {
    let line = line.trim();
    line.len() >= LINE_CHARS_MIN && line.bytes().all(|byte| byte == b'_')
}

/// A text without the block of an online meeting.
pub(super) fn without_join_block(text: &str, join_url: &str) -> String {
    let lines: Vec<&str> = text.split('\n').collect();
    let ruled: Vec<usize> = (0..lines.len()).filter(|at| is_line(lines[*at])).collect();
    let (from, to) = match ruled.as_slice() {
        [] => return text.to_owned(),
        [one] => (*one, lines.len() - 1),
        [.., from, to] => (*from, *to),
    };
    let block = lines[from..=to].join("\n");
    let is_block =
        (!join_url.is_empty() && block.contains(join_url)) || TEAMS.iter().any(|t| block.contains(t));
    if !is_block {
        return text.to_owned();
    }
    [&lines[..from], &lines[to + 1..]].concat().join("\n")
}

/// The block of an online meeting as it stands in HTML, to the end of the body; none where its link is not there.
pub(super) fn join_block(html: &str, join_url: &str) -> Option<String> {
    let encoded = join_url.replace('&', "&amp;");
    let link = html.find(join_url).or_else(|| html.find(&encoded)).filter(|_| !join_url.is_empty())?;
    let before = html.get(..link)?;
    let line = before.rfind(&"_".repeat(LINE_CHARS_MIN));
    let headline = || before.find("me-email-text").or_else(|| before.find("me-email-headline"));
    let from = match line.or_else(headline) {
        Some(at) => before.get(..at)?.rfind("<div"),
        None => before.rfind("<a"),
    };
    let from = from.or_else(|| before.rfind('<'))?;
    let to = html.rfind("</body>").filter(|to| *to > from).unwrap_or(html.len());
    html.get(from..to).map(str::to_owned)
}

/// A text as HTML, with a block below it.
pub(super) fn html(text: &str, block: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let spaced = escaped.replace("  ", " &nbsp;");
    format!("<html><body><div>{}</div>{block}</body></html>", spaced.replace('\n', "<br>"))
}

/// HTML as text, for a service that did not heed what was asked for: tags away, line ends where blocks end.
pub(super) fn plain(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let begin = lower.find("<body").unwrap_or(0);
    let source = html.get(begin..).unwrap_or(html);
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(&before.replace(['\r', '\n'], " "));
        let (tag, tail) = after.split_once('>').unwrap_or((after, ""));
        let name = tag.trim_end_matches('/').trim().to_ascii_lowercase();
        let name = name.split_whitespace().next().unwrap_or_default();
        if name == "br" || ["/p", "/div", "/li", "/tr", "/h1", "/h2", "/h3"].contains(&name) {
            text.push('\n');
        }
        rest = tail;
    }
    text.push_str(&rest.replace(['\r', '\n'], " "));
    let entities =
        [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    entities.into_iter().fold(text, |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URL: &str = "https://teams.microsoft.com/l/meetup-join/19%3ameeting?context=%7b%7d&x=1";

    fn block_html() -> String {
        let line = "_".repeat(80);
        format!(
            "<div style=\"width:100%\"><span>{line}</span></div><div class=\"me-email-text\"><span>Microsoft \
             Teams-Besprechung</span><a class=\"me-email-headline\" href=\"{}\">Hier klicken</a></div>\
             <div><span>{line}</span></div>",
            URL.replace('&', "&amp;")
        )
    }

    #[test]
    fn the_block_is_carried_on() {
        let stored = format!("<html><head></head><body><p>Agenda</p>{}</body></html>", block_html());
        assert_eq!(join_block(&stored, URL), Some(block_html()));
        let written = html("New <agenda>\nb", &block_html());
        assert_eq!(join_block(&written, URL), Some(block_html()), "also the next time");
        assert!(written.contains("New &lt;agenda&gt;<br>b</div><div style"), "{written}");
        // Blocks that look otherwise keep at least their link.
        let other = format!("<body>a<a href=\"{URL}\">Join</a></body>");
        assert_eq!(join_block(&other, URL), Some(format!("<a href=\"{URL}\">Join</a>")));
        assert_eq!(join_block("<body>a</body>", URL), None);
        assert_eq!(join_block("<body>a</body>", ""), None);
    }

    #[test]
    fn a_text_is_read_without_the_block() {
        let line = "_".repeat(80);
        let text =
            format!("Agenda\r\n\r\n{line}\r\nMicrosoft Teams-Besprechung\r\nHier<{URL}>\r\n{line}\r\nbelow");
        assert_eq!(without_join_block(&text, URL), "Agenda\r\n\r\nbelow");
        let open = format!("Agenda\n{line}\nJoin: {URL}");
        assert_eq!(without_join_block(&open, URL), "Agenda");
        // A line that a person drew stays.
        let drawn = format!("a\n{line}\nb\n{line}\nc");
        assert_eq!(without_join_block(&drawn, URL), drawn);
        let both = format!("a\n{line}\nb\n{line}\nMicrosoft Teams meeting\n{line}\n");
        assert_eq!(without_join_block(&both, URL), format!("a\n{line}\nb\n"));
    }

    #[test]
    fn html_that_came_unasked_is_read_as_text() {
        let html = "<html><head><style>p{}</style></head><body>\r\n<p>a &amp; b</p>c<br/>d&nbsp;&lt;e&gt;</body></html>";
        assert_eq!(plain(html).trim(), "a & b\nc\nd <e>");
        assert_eq!(plain("no tags").trim(), "no tags");
    }

    proptest! {
        #[test]
        fn nothing_is_too_odd(text in "[a<>&/_\\n é\"=]{0,120}", url in "[a-z:/&]{0,8}") {
            let _ = without_join_block(&text, &url);
            let _ = plain(&text);
            if let Some(block) = join_block(&text, &url) {
                prop_assert!(text.contains(&block));
            }
            let again = plain(&html(&text, ""));
            prop_assert_eq!(again.trim_end_matches('\n'), text.trim_end_matches('\n'));
        }
    }
}
