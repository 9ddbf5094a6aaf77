//! Bodies of events: what is read differs from what was written.

/// Where an online meeting's join block stands in a body.
const JOIN_MARK: &str = "<div class=\"me-email-text\">Microsoft Teams meeting</div>";
/// What it stands between.
const RULE: &str = "<div><span>________________________________________________________________________________</span></div>";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A body as it is stored: HTML, wrapped, without scripts, styles and comments.
pub(super) fn stored(content: &str, is_html: bool) -> String {
    if !is_html {
        let text = escaped(content).replace("\r\n", "\n").replace('\n', "<br>\r\n");
        return wrapped(&format!("<div class=\"PlainText\">{text}</div>"));
    }
    let cleaned =
        without(&without(&without(content, "<script", "</script>"), "<style", "</style>"), "<!--", "-->");
    if cleaned.to_ascii_lowercase().contains("<body") { cleaned } else { wrapped(&cleaned) }
}

fn wrapped(inner: &str) -> String {
    format!(
        "<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">\
         </head><body>{inner}</body></html>"
    )
}

/// Without the parts from `begin` to `end`, and without the rest where an end is missing.
fn without(text: &str, begin: &str, end: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let lower = text.to_ascii_lowercase();
    let mut at = 0;
    while let Some(found) = lower.get(at..).and_then(|rest| rest.find(begin)) {
        let from = at + found;
        out.push_str(text.get(at..from).unwrap_or_default());
        match lower.get(from..).and_then(|rest| rest.find(end)) {
            Some(length) => at = from + length + end.len(),
            None => return out,
        }
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// As `Prefer: outlook.body-content-type="text"` asks for.
pub(super) fn plain(html: &str) -> String {
    let html = without(html, "<head", "</head>").replace("\r\n", "");
    let mut out = String::with_capacity(html.len());
    let mut tag: Option<String> = None;
    let mut link: Option<String> = None;
    for character in html.chars() {
        match (&mut tag, character) {
            (None, '<') => tag = Some(String::new()),
            (None, character) => out.push(character),
            (Some(name), '>') => {
                // Where a link leads to stands behind it.
                if let Some((_, to)) = name.split_once("href=\"").filter(|_| name.starts_with("a ")) {
                    link = to.split_once('"').map(|(to, _)| to.to_owned());
                }
                let name = name.to_ascii_lowercase();
                if let Some(to) = link.take_if(|_| name == "/a") {
                    out.push_str(&format!("<{to}>"));
                }
                if name.starts_with("br") || ["/p", "/div", "/li", "/tr"].contains(&name.as_str()) {
                    out.push_str("\r\n");
                }
                tag = None;
            }
            (Some(name), character) => name.push(character),
        }
    }
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&")
}

/// The first 255 characters of the text, in one line.
pub(super) fn preview(html: &str) -> String {
    let text = plain(html);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(255).collect()
}

/// With the block that lets people join an online meeting.
pub(super) fn with_join_block(html: &str, url: &str) -> String {
    let block = format!("{RULE}{JOIN_MARK}<div><a href=\"{url}\">Join the meeting now</a></div>{RULE}");
    match html.rfind("</body>") {
        Some(at) => format!("{}{block}{}", &html[..at], &html[at..]),
        None => format!("{html}{block}"),
    }
}

/// Whether a body still carries that block.
pub(super) fn has_join_block(html: &str, url: &str) -> bool {
    html.contains(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_and_read_back_as_text() {
        let html = stored("a < b\nc & d", false);
        assert!(html.starts_with("<html><head>") && html.contains("a &lt; b<br>"), "{html}");
        assert_eq!(plain(&html), "a < b\r\nc & d\r\n");
        assert_eq!(preview(&html), "a < b c & d");
    }

    #[test]
    fn a_link_is_read_with_where_it_leads_to() {
        assert_eq!(
            plain("<p><a href=\"https://x.example/?a=1&amp;b\">here</a>!</p>"),
            "here<https://x.example/?a=1&b>!\r\n"
        );
    }

    #[test]
    fn html_is_cleaned() {
        let html = stored("<p>a</p><SCRIPT>alert(1)</SCRIPT><!-- x --><style>p{}</style>b<script>", true);
        assert!(html.contains("<body><p>a</p>b</body>"), "{html}");
        assert_eq!(stored("<html><body>x</body></html>", true), "<html><body>x</body></html>");
    }

    #[test]
    fn a_preview_has_255_characters() {
        assert_eq!(preview(&stored(&"ä".repeat(300), false)).chars().count(), 255);
    }
}
