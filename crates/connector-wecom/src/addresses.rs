//! From where WeCom sends callbacks.
//!
//! Source: "获取企业微信回调IP段" in <https://developer.work.weixin.qq.com/document/path/92520>.

use http_client::{Answer, Method, Request};
use serde::Deserialize;
use shared::fault::Fault;

use crate::WeCom;
use crate::api::Api;

impl WeCom {
    /// Reads the addresses that callbacks come from, single ones and perhaps ranges, as WeCom writes them:
    /// `GET getcallbackip`. They change now and then: ask once a day, and use them as a filter beside the signature only.
    /// Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::departments`].
    pub async fn callback_addresses(&self) -> Result<Vec<String>, Fault> {
        let request = Request::new(Method::Get, Api::CallbackAddresses.path(), &[]);
        read(&self.call(Api::CallbackAddresses, request).await?.good()?)
    }
}

#[derive(Deserialize)]
struct WireAddresses {
    ip_list: Option<Vec<String>>,
}

fn read(answer: &Answer) -> Result<Vec<String>, Fault> {
    answer.json::<WireAddresses>()?.ip_list.ok_or_else(|| answer.unreadable("no list of addresses"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn addresses_are_as_wecom_writes_them() {
        let answer =
            fixtures::answer(r#"{"ip_list":["182.254.11.176","10.0.0.0/8"],"errcode":0,"errmsg":"ok"}"#);
        assert_eq!(read(&answer).unwrap(), ["182.254.11.176", "10.0.0.0/8"]);
        assert_eq!(read(&fixtures::answer("{}")).unwrap_err().code, "answer_unreadable");
    }
}
