//! What a request prefers, each for this one request.

use jiff::tz::TimeZone;

use super::answers::Refusal;
use super::ids::Form;
use super::zones;
use crate::wire::Request;

/// Items on a page of a delta round that names no size.
const PAGE_SIZE: usize = 10;
/// Items on a page at most.
const PAGE_SIZE_MAX: usize = 1_000;

/// The preferences of one request.
#[derive(Debug, Clone)]
pub(super) struct Prefer {
    pub(super) form: Form,
    pub(super) zone: TimeZone,
    /// As it was asked for, and as answers name it.
    pub(super) zone_name: String,
    pub(super) page_size: usize,
    pub(super) is_text: bool,
    /// What was honoured.
    pub(super) applied: Vec<String>,
}

impl Prefer {
    pub(super) fn read(request: &Request) -> Result<Self, Refusal> {
        let mut prefer = Self {
            form: Form::Ordinary,
            zone: TimeZone::UTC,
            zone_name: "UTC".to_owned(),
            page_size: PAGE_SIZE,
            is_text: false,
            applied: Vec::new(),
        };
        let headers = request.headers.get_all("Prefer").iter().filter_map(|value| value.to_str().ok());
        for part in headers.flat_map(|value| value.split([',', ';'])) {
            let Some((name, value)) = part.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            let known = match name.trim().to_ascii_lowercase().as_str() {
                "idtype" if value.eq_ignore_ascii_case("ImmutableId") => {
                    prefer.form = Form::Immutable;
                    true
                }
                "outlook.timezone" => {
                    let message = format!(
                        "A valid TimeZone value must be specified. The following TimeZone value is not supported: '{value}'."
                    );
                    let refusal = Refusal::new(400, "TimeZoneNotSupportedException", message);
                    prefer.zone = zones::find(value).ok_or(refusal)?;
                    value.clone_into(&mut prefer.zone_name);
                    true
                }
                "odata.maxpagesize" => match value.parse::<usize>() {
                    Ok(size @ 1..) => {
                        prefer.page_size = size.min(PAGE_SIZE_MAX);
                        true
                    }
                    _ => false,
                },
                "outlook.body-content-type" => {
                    prefer.is_text = value.eq_ignore_ascii_case("text");
                    true
                }
                _ => false,
            };
            if known {
                prefer.applied.push(part.trim().to_owned());
            }
        }
        Ok(prefer)
    }
}
