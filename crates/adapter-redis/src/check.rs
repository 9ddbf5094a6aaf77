//! What the operator's program asks about the store.

use std::collections::BTreeMap;

use shared::flow::{Check, Verdict};
use shared::ports::PortError;

use crate::state::RedisState;

/// Looks at the store: whether it answers, its version, and whether it keeps what it is given.
pub(crate) async fn check(state: &RedisState) -> Vec<Check> {
    let info = match info(state).await {
        Ok(info) => info,
        Err(error) => {
            let remedy = "Start the store, or correct state.redis.url";
            return vec![finding("connection", Verdict::Broken, error.to_string(), remedy)];
        }
    };
    let mut found = vec![finding("connection", Verdict::Well, format!("{} answers", state.address()), "")];
    found.extend(judge(&info));
    found.push(judge_sync(sync(state).await.as_deref()));
    found
}

async fn info(state: &RedisState) -> Result<BTreeMap<String, String>, PortError> {
    let text: String = state.ask(async |connection| redis::cmd("INFO").query_async(connection).await).await?;
    Ok(parse_info(&text))
}

/// When the append-only file reaches the disk; nothing where the store does not tell, as hosted ones do.
async fn sync(state: &RedisState) -> Option<String> {
    let asking = async |connection: &mut redis::aio::ConnectionManager| {
        redis::cmd("CONFIG").arg("GET").arg("appendfsync").query_async(connection).await
    };
    let answer: BTreeMap<String, String> = state.ask(asking).await.ok()?;
    answer.get("appendfsync").cloned()
}

fn judge_sync(seen: Option<&str>) -> Check {
    let subject = "synchronisation to disk";
    match seen {
        Some("always") => finding(subject, Verdict::Well, "always".to_owned(), ""),
        None => finding(subject, Verdict::Well, "not told".to_owned(), ""),
        Some(other) => finding(
            subject,
            Verdict::Warning,
            other.to_owned(),
            "Set `appendfsync always`: else a crash of its machine loses what was written last, the fleet pauses until a \
             person releases it, and a create under way then may be done twice",
        ),
    }
}

/// The lines `name:value` of `INFO`.
fn parse_info(text: &str) -> BTreeMap<String, String> {
    let pair =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    text.lines().filter_map(pair).collect()
}

fn judge(info: &BTreeMap<String, String>) -> Vec<Check> {
    let value = |name: &str| info.get(name).map_or("unknown", String::as_str);
    let version = value("redis_version");
    let major: u32 = version.split('.').next().and_then(|part| part.parse().ok()).unwrap_or(0);
    let expect = |subject, good: bool, bad: Verdict, seen: &str, remedy| {
        let verdict = if good { Verdict::Well } else { bad };
        finding(subject, verdict, seen.to_owned(), if good { "" } else { remedy })
    };
    vec![
        expect("version", major >= 7, Verdict::Broken, version, "Use Redis 7 or later, or Valkey"),
        expect(
            "append-only file",
            value("aof_enabled") == "1",
            Verdict::Warning,
            if value("aof_enabled") == "1" { "on" } else { "off" },
            "Set `appendonly yes`: without it a restart forgets links, cursors and leases since the last snapshot",
        ),
        expect(
            "eviction",
            matches!(value("maxmemory_policy"), "noeviction" | "unknown"),
            Verdict::Warning,
            value("maxmemory_policy"),
            "Set `maxmemory-policy noeviction`: any other drops links and leases when memory is short",
        ),
        expect(
            "role",
            value("role") != "slave",
            Verdict::Broken,
            value("role"),
            "Point state.redis.url to the primary",
        ),
    ]
}

fn finding(subject: &str, verdict: Verdict, seen: String, remedy: &str) -> Check {
    Check { subject: format!("Redis {subject}"), verdict, seen, remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(info: &str) -> Vec<Verdict> {
        judge(&parse_info(info)).into_iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn a_good_store_is_well_and_a_bad_one_says_what_to_do() {
        use Verdict::{Broken, Warning, Well};
        let good = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\naof_enabled:1\r\n\
                    maxmemory_policy:noeviction\r\n";
        assert_eq!(verdicts(good), [Well, Well, Well, Well]);
        let bad = "redis_version:6.2.1\r\nrole:slave\r\naof_enabled:0\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(verdicts(bad), [Broken, Warning, Warning, Broken]);
        assert_eq!(
            ["always", "everysec", "no"].map(|seen| judge_sync(Some(seen)).verdict),
            [Well, Warning, Warning]
        );
        for check in judge(&parse_info(bad)) {
            assert!(!check.remedy.is_empty(), "{}", check.subject);
        }
    }
}
