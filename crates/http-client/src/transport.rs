//! Bytes on the wire: the only module that speaks to `reqwest`.

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use url::Url;

use crate::Request;
use crate::settings::{Limits, SetupError};

/// An answer, read to its end. Header names are lower-case.
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// No connection: nothing was sent.
    NotSent(String),
    /// Sent, but no whole answer.
    Lost(String),
    /// More than the bound.
    TooLarge,
}

/// A client that follows no redirects, and uses no proxies that the environment names.
#[expect(clippy::disallowed_methods, reason = "the one place that builds an HTTP client")]
pub(crate) fn client(limits: &Limits) -> Result<reqwest::Client, SetupError> {
    let tls = crate::tls::config().map_err(|e| SetupError::Client(e.to_string()))?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(format!("syncfleet/{}", shared::VERSION))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(limits.connect_time_max)
        .pool_max_idle_per_host(limits.concurrency_max as usize)
        .tcp_nodelay(true)
        .build()
        .map_err(|e| SetupError::Client(describe(&e)))
}

/// The request as it goes out. The error says which part of it cannot be written.
pub(crate) fn wire(base: &Url, request: &Request) -> Result<reqwest::Request, String> {
    let url = address(base, request)?;
    let method =
        reqwest::Method::from_bytes(request.method.as_str().as_bytes()).map_err(|e| e.to_string())?;
    let mut wire = reqwest::Request::new(method, url);
    let headers = wire.headers_mut();
    headers.insert("accept", HeaderValue::from_static("application/json"));
    for (name, value) in &request.headers {
        set_header(headers, name, value, false)?;
    }
    for (name, value) in &request.secret_headers {
        set_header(headers, name, value.expose_secret(), true)?;
    }
    if let Some(body) = &request.body {
        *wire.body_mut() = Some(body.clone().into());
    }
    Ok(wire)
}

/// Where it goes. Credentials go with every request, so a link leads nowhere else than the base address.
fn address(base: &Url, request: &Request) -> Result<Url, String> {
    if let Some(link) = &request.link {
        let is_own = link.origin() == base.origin() && link.username().is_empty();
        return is_own.then(|| link.clone()).ok_or_else(|| "its link leads to another host".to_owned());
    }
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| "the base address takes no path")?
        .pop_if_empty()
        .extend(&request.segments);
    if !request.query.is_empty() || !request.secret_query.is_empty() {
        let secrets = request.secret_query.iter().map(|(name, value)| (name, value.expose_secret()));
        url.query_pairs_mut().extend_pairs(&request.query).extend_pairs(secrets);
        // A blank as `+` is read as a plus by some; a plus of its own is `%2B` here.
        let query = url.query().unwrap_or_default().replace('+', "%20");
        url.set_query(Some(&query));
    }
    Ok(url)
}

fn set_header(headers: &mut HeaderMap, name: &str, value: &str, secret: bool) -> Result<(), String> {
    let invalid = || format!("its header {name}");
    let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
    value.set_sensitive(secret);
    headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?, value);
    Ok(())
}

/// Sends once, and reads the answer up to `bytes_max`.
pub(crate) async fn exchange(
    client: &reqwest::Client,
    wire: reqwest::Request,
    bytes_max: usize,
) -> Result<RawAnswer, Failure> {
    let response = client.execute(wire).await.map_err(classify)?;
    let status = response.status().as_u16();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect();
    let body = read_body(response, bytes_max).await?;
    Ok(RawAnswer { status, headers, body })
}

fn classify(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let why = describe(&error);
    if error.is_connect() || error.is_builder() { Failure::NotSent(why) } else { Failure::Lost(why) }
}

/// The innermost cause is what the operator can act on: "Connection refused", "certificate expired".
fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

async fn read_body(mut response: reqwest::Response, bytes_max: usize) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| Failure::Lost(describe(&e)))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn blanks_in_a_query_are_percent_encoded_and_ids_in_a_path_too() {
        let request = Request::new(Method::Get, "events/{id}", &["a/b=="]).query("$filter", "a eq 'b+c'");
        let address = address(&url("https://graph.example/v1.0/"), &request).unwrap();
        assert_eq!(
            address.as_str(),
            "https://graph.example/v1.0/events/a%2Fb==?%24filter=a%20eq%20%27b%2Bc%27"
        );
    }

    #[test]
    fn secrets_of_a_query_go_behind_the_rest() {
        let request = Request::new(Method::Get, "user/get", &[])
            .secret_query("access_token", "a+b/c".to_owned().into())
            .query("userid", "zhangsan");
        let address = address(&url("https://wecom.example/cgi-bin/"), &request).unwrap();
        assert_eq!(
            address.as_str(),
            "https://wecom.example/cgi-bin/user/get?userid=zhangsan&access_token=a%2Bb%2Fc"
        );
        let alone = Request::new(Method::Get, "x", &[]).secret_query("k", "v".to_owned().into());
        assert_eq!(super::address(&url("https://x.example/"), &alone).unwrap().query(), Some("k=v"));
    }

    #[test]
    fn a_link_is_followed_as_it_is_and_only_on_its_own_host() {
        let base = url("https://graph.example/v1.0/");
        let link =
            "https://graph.example/v1.0/me/calendarView/microsoft.graph.delta?$skiptoken=-e6j9'~(x)ta3";
        let to = |link: &str| address(&base, &Request::to_link(Method::Get, "delta", url(link)));
        assert_eq!(to(link).unwrap(), url(link));
        assert!(to(link).unwrap().as_str().contains("$skiptoken=-e6j9"));
        for foreign in [
            "https://graph.example.evil/v1.0/me",
            "http://graph.example/v1.0/me",
            "https://graph.example:8443/v1.0/me",
            "https://user@graph.example/v1.0/me",
        ] {
            assert!(to(foreign).is_err(), "{foreign}");
        }
    }
}
