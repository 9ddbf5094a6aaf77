//! One provider's token endpoint: requests by `oauth2`, sent through `http-client`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_client::{Answer, Fleet, Limits, Method, Request, SetupError, Upstream, may_have_taken_effect};
use oauth2::basic::{BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardRevocableToken,
    StandardTokenResponse, TokenResponse as _, TokenUrl,
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use shared::clock::Clock;
use shared::fault::{Fault, FaultKind};
use shared::meter::Meter;
use shared::ports::state::State;
use url::Url;

use crate::error::{self, Refusal};
use crate::grant::{Identity, Token, Tokens};
use crate::provider::{ClientAuthentication, Provider};

/// Longest token that is kept; a grant must fit into a document of the store.
const TOKEN_BYTES_MAX: usize = 32 * 1024;
/// Longest life of an access token that is believed.
const LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Life of an access token where the answer names none.
const LIFE_UNNAMED: Duration = Duration::from_secs(10 * 60);
/// Longest word of an identity that is kept.
const IDENTITY_CHARS_MAX: usize = 256;
/// Most scopes of an answer that are kept.
const SCOPES_MAX: usize = 100;
/// How long nothing is asked of a provider that refuses the application itself.
pub(crate) const OPERATOR_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Limits of a token endpoint unless the settings say otherwise. A request waits and lasts, all in all, much shorter
/// than the lease under which it is sent; it waits longer than a process that died holds the fleet's slots.
pub fn default_limits() -> Limits {
    Limits {
        connect_time_max: Duration::from_secs(5),
        deadline: Duration::from_secs(15),
        answer_bytes_max: 256 * 1024,
        requests_per_second_max: 50,
        concurrency_max: 32,
        wait_max: Duration::from_secs(15),
        ..Limits::default()
    }
}

/// What an answer holds beside the tokens.
#[derive(Clone, Default, Deserialize, Serialize)]
pub(crate) struct Extra {
    #[serde(default)]
    id_token: Option<String>,
}

impl ExtraTokenFields for Extra {}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extra(***)")
    }
}

type Response = StandardTokenResponse<Extra, BasicTokenType>;
type OauthClient = Client<
    Refusal,
    Response,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Why there are no tokens.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The endpoint refused.
    Refused(Box<Refusal>),
    /// There is no answer, or one that says nothing about the grant.
    Fault(Fault),
}

/// A provider's token endpoint. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TokenEndpoint {
    pub(crate) provider: Arc<Provider>,
    client: Arc<OauthClient>,
    upstream: Upstream,
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenEndpoint({})", self.provider.name)
    }
}

impl TokenEndpoint {
    pub(crate) fn new(
        provider: Provider,
        limits: Limits,
        state: Arc<dyn State>,
        meter: Arc<dyn Meter>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let (system, registration) = (provider.system(), &provider.registration);
        let identity = [provider.token_url.as_str(), registration.client_id.as_str()];
        let fleet = Fleet::new(state, system, &identity);
        let secrets = vec![registration.client_secret.clone()];
        let upstream = Upstream::new(system, limits, secrets, meter, clock, Some(fleet))?;
        let authentication = match provider.authentication {
            ClientAuthentication::Form => AuthType::RequestBody,
            ClientAuthentication::Basic => AuthType::BasicAuth,
        };
        let client = Client::new(ClientId::new(registration.client_id.clone()))
            .set_client_secret(ClientSecret::new(registration.client_secret.expose_secret().to_owned()))
            .set_auth_type(authentication)
            .set_auth_uri(AuthUrl::from_url(provider.authorize_url.clone()))
            .set_token_uri(TokenUrl::from_url(provider.token_url.clone()));
        Ok(Self { provider: Arc::new(provider), client: Arc::new(client), upstream })
    }

    /// Where a person is sent to consent. Pure.
    pub(crate) fn authorize_url(
        &self,
        redirect: &Url,
        state: &str,
        verifier: &PkceCodeVerifier,
        claims: Option<&str>,
    ) -> Url {
        let mut request = self
            .client
            .authorize_url(|| CsrfToken::new(state.to_owned()))
            .add_scopes(self.provider.scopes.iter().cloned().map(Scope::new))
            .set_redirect_uri(std::borrow::Cow::Owned(RedirectUrl::from_url(redirect.clone())))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(verifier));
        for (name, value) in &self.provider.authorize_parameters {
            request = request.add_extra_param(name.as_str(), value.as_str());
        }
        if let Some(claims) = claims {
            request = request.add_extra_param("claims", claims);
        }
        request.url().0
    }

    /// Exchanges the code of a consent for tokens.
    pub(crate) async fn redeem(
        &self,
        code: &str,
        verifier: PkceCodeVerifier,
        redirect: &Url,
    ) -> Result<Tokens, Failure> {
        let mut request = self
            .client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_redirect_uri(std::borrow::Cow::Owned(RedirectUrl::from_url(redirect.clone())))
            .set_pkce_verifier(verifier);
        if !self.provider.token_scopes.is_empty() {
            request = request.add_extra_param("scope", self.provider.token_scopes.join(" "));
        }
        tokens(request.request_async(self).await)
    }

    /// Asks for another access token.
    pub(crate) async fn refresh(&self, refresh: &Token, claims: Option<&str>) -> Result<Tokens, Failure> {
        let refresh = RefreshToken::new(refresh.expose().to_owned());
        let mut request = self
            .client
            .exchange_refresh_token(&refresh)
            .add_scopes(self.provider.token_scopes.iter().cloned().map(Scope::new));
        if let Some(claims) = claims {
            request = request.add_extra_param("claims", claims);
        }
        tokens(request.request_async(self).await)
    }

    /// Asks for an access token in the application's own name.
    pub(crate) async fn application(&self, scope: &str) -> Result<Tokens, Failure> {
        let request = self.client.exchange_client_credentials().add_scope(Scope::new(scope.to_owned()));
        let tokens = tokens(request.request_async(self).await)?;
        // The application never has one, whatever the answer says.
        Ok(Tokens { refresh: None, ..tokens })
    }

    /// Gives a token back, where the provider has an address for that; answers whether it has. A token that is
    /// unknown there is given back already.
    pub(crate) async fn revoke(&self, token: &Token) -> Result<bool, Fault> {
        let Some(url) = &self.provider.revoke_url else { return Ok(false) };
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token.expose());
        let (base, request) = split(url);
        let answer = self.upstream.send(&base, request.form(form.finish())).await?;
        if let Some(fault) = answer.common_fault() {
            return Err(fault);
        }
        match answer.status() {
            200..300 | 400 => Ok(true),
            status => {
                let text = format!(
                    "{} refused with status {status} to take a token back; the account was left as it is.",
                    self.provider.label
                );
                Err(answer.fault(FaultKind::Retryable { after: None }, "revoke_refused", text))
            }
        }
    }

    /// The registration or the settings are wrong: says so. Where the application itself is refused, nothing more is
    /// asked for a while, by the whole fleet; where it is something else, others may fare better.
    pub(crate) fn misconfigured(&self, refusal: &Refusal) -> String {
        let what = format!(
            "{} refuses what the application asks for ({refusal}): check client_id, client_secret and its expiry, \
             tenant, scopes and redirect address in the settings and at the provider; all accounts are kept",
            self.provider.label
        );
        if refusal.is_of_the_client() {
            self.upstream.pause_refused(OPERATOR_PAUSE, &what);
        } else {
            tracing::error!(upstream.system = self.provider.system(), "{what}.");
        }
        what
    }

    /// Gives back what this process holds of the fleet's limits.
    pub(crate) async fn leave(&self) {
        self.upstream.leave().await;
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Fault> {
        let bug =
            |what: &str| Fault::bug("token_request", format!("A token request cannot be sent: {what}."));
        let url = Url::parse(&request.uri().to_string()).map_err(|_| bug("its address"))?;
        let (base, mut sent) = split(&url);
        if let Some(proof) = request.headers().get("authorization") {
            let proof = proof.to_str().map_err(|_| bug("its credentials"))?;
            sent = sent.secret_header("authorization", proof.to_owned().into());
        }
        let answer = self.upstream.send(&base, sent.form(request.into_body())).await?;
        if let Some(fault) = answer.common_fault()
            && !error::detects_a_loop(answer.body())
        {
            return Err(fault);
        }
        response(&answer).ok_or_else(|| answer.unreadable("headers that are none"))
    }
}

impl<'c> AsyncHttpClient<'c> for TokenEndpoint {
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Fault>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// An address as its host, and a request to what is below.
fn split(url: &Url) -> (Url, Request) {
    let mut base = url.clone();
    base.set_path("/");
    (base, Request::new(Method::Post, url.path().trim_start_matches('/'), &[]))
}

/// The answer as `oauth2` reads it, which takes 200 alone for a success.
fn response(answer: &Answer) -> Option<HttpResponse> {
    let status = if answer.is_success() { 200 } else { answer.status() };
    let mut response = oauth2::http::Response::builder().status(status);
    if let Some(kind) = answer.header("content-type") {
        response = response.header("content-type", kind);
    }
    response.body(answer.body().to_vec()).ok()
}

/// What an answer gives. Pure.
fn tokens(answer: Result<Response, RequestTokenError<Fault, Refusal>>) -> Result<Tokens, Failure> {
    let response = answer.map_err(|error| match error {
        RequestTokenError::ServerResponse(refusal) => Failure::Refused(Box::new(refusal)),
        RequestTokenError::Request(fault) => Failure::Fault(fault),
        // What came may hold tokens, so nothing of it is said.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => unreadable("no tokens and no refusal"),
    })?;
    if !matches!(response.token_type(), BasicTokenType::Bearer) {
        return Err(unreadable("a token that is no bearer token"));
    }
    let access =
        sound(response.access_token().secret()).ok_or_else(|| unreadable("an unusable access token"))?;
    let refresh = match response.refresh_token().map(|token| sound(token.secret())) {
        Some(None) => return Err(unreadable("an unusable refresh token")),
        Some(refresh) => refresh,
        None => None,
    };
    let life = response.expires_in().unwrap_or(LIFE_UNNAMED);
    if life.is_zero() {
        return Err(unreadable("an access token that has ended"));
    }
    let scopes = response.scopes().map(|scopes| {
        let words = scopes.iter().map(|scope| scope.to_string()).filter(|scope| !scope.is_empty());
        words.take(SCOPES_MAX).collect::<Vec<_>>()
    });
    let identity = response.extra_fields().id_token.as_deref().and_then(identity);
    let scopes = scopes.filter(|scopes| !scopes.is_empty());
    Ok(Tokens { access, life: life.min(LIFE_MAX), refresh, scopes, identity })
}

/// A token that can be sent in a header and kept.
fn sound(token: &str) -> Option<Token> {
    let fits = (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| Token::new(token))
}

fn unreadable(what: &str) -> Failure {
    let text = format!("A token endpoint answered with {what}; tried again later.");
    Failure::Fault(Fault::retryable(http_client::codes::ANSWER_UNREADABLE, text))
}

/// Whether the refresh token may have been spent by a request that ended so.
pub(crate) fn may_have_been_spent(fault: &Fault) -> bool {
    // Those of this module have no answer with them, since it could hold tokens.
    fault.code == http_client::codes::ANSWER_UNREADABLE || may_have_taken_effect(fault)
}

/// Who signed in. The token comes straight from the provider over TLS, so that its signature proves nothing more
/// (OpenID Connect Core, 3.1.3.7).
fn identity(id_token: &str) -> Option<Identity> {
    #[derive(Deserialize)]
    struct Claims {
        sub: Option<String>,
        oid: Option<String>,
        tid: Option<String>,
        email: Option<String>,
        preferred_username: Option<String>,
    }
    let payload = id_token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    // Microsoft's `sub` is another one for each application; its object and tenant are the user.
    let subject = match (claims.tid, claims.oid, claims.sub) {
        (Some(tenant), Some(object), _) => format!("{tenant}/{object}"),
        (_, _, subject) => subject?,
    };
    let short = |text: &String| !text.is_empty() && text.chars().count() <= IDENTITY_CHARS_MAX;
    let address = claims.preferred_username.or(claims.email).filter(short);
    Some(subject).filter(short).map(|subject| Identity { subject, address })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Result<Tokens, Failure> {
        tokens(Ok(serde_json::from_str(body).unwrap()))
    }

    #[test]
    fn the_vendors_answers_are_read() {
        let microsoft = read(
            r#"{"token_type":"Bearer","scope":"https://graph.microsoft.com/Calendars.ReadWrite https://graph.microsoft.com/User.Read",
                "expires_in":4799,"ext_expires_in":4799,"access_token":"eyJ0eXAiOi","refresh_token":"AwABAAAA",
                "id_token":"eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJhdWQiOiIyZDRkMTFhMi1mODE0LTQ2YTctOD"}"#,
        )
        .unwrap();
        assert_eq!((microsoft.life.as_secs(), microsoft.refresh.unwrap().expose()), (4_799, "AwABAAAA"));
        assert_eq!(microsoft.scopes.unwrap().len(), 2);
        assert_eq!(microsoft.identity, None, "half an identity is none");
        let google = read(
            r#"{"access_token":"1/fFAGRNJru1FTz70BzhT3Zg","expires_in":3920,"token_type":"Bearer",
                "scope":"https://www.googleapis.com/auth/calendar.events"}"#,
        )
        .unwrap();
        assert!(google.refresh.is_none() && google.life.as_secs() == 3_920);
    }

    #[test]
    fn what_is_no_token_is_none() {
        for (body, says) in [
            (r#"{"access_token":"","token_type":"Bearer","expires_in":10}"#, "access token"),
            (r#"{"access_token":"a b","token_type":"Bearer","expires_in":10}"#, "access token"),
            (r#"{"access_token":"a","token_type":"mac","expires_in":10}"#, "bearer"),
            (r#"{"access_token":"a","token_type":"Bearer","expires_in":0}"#, "ended"),
            (r#"{"access_token":"a","token_type":"Bearer","refresh_token":""}"#, "refresh token"),
        ] {
            let Err(Failure::Fault(fault)) = read(body) else { panic!("{body}") };
            assert!(fault.text.contains(says) && may_have_been_spent(&fault), "{fault}");
        }
        let long =
            format!(r#"{{"access_token":"{}","token_type":"Bearer"}}"#, "x".repeat(TOKEN_BYTES_MAX + 1));
        assert!(read(&long).is_err());
    }

    #[test]
    fn a_life_that_is_not_named_is_short_and_one_without_end_is_cut() {
        let unnamed = read(r#"{"access_token":"a","token_type":"bearer"}"#).unwrap();
        assert_eq!(unnamed.life, LIFE_UNNAMED);
        let long = read(r#"{"access_token":"a","token_type":"BEARER","expires_in":99999999999}"#).unwrap();
        assert_eq!(long.life, LIFE_MAX);
    }

    fn id_token(claims: &str) -> String {
        format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn who_signed_in_is_read_from_either_vendors_token() {
        let microsoft = identity(&id_token(
            r#"{"sub":"s","oid":"o","tid":"t","preferred_username":"jo@contoso.example"}"#,
        ));
        let expected = Identity { subject: "t/o".into(), address: Some("jo@contoso.example".into()) };
        assert_eq!(microsoft, Some(expected));
        let google = identity(&id_token(r#"{"sub":"1076","email":"jo@example.test"}"#)).unwrap();
        assert_eq!((google.subject.as_str(), google.address.as_deref()), ("1076", Some("jo@example.test")));
        for none in ["", "a.b", "a.!!.c", &id_token("{}"), &id_token(r#"{"sub":""}"#)] {
            assert_eq!(identity(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn no_id_token_makes_it_panic(text in "\\PC{0,100}", claims in "\\PC{0,100}") {
            let _ = (identity(&text), identity(&id_token(&claims)));
        }
    }
}
