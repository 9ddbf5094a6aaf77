//! How the simulated systems misbehave. Pure.

use simulators::{FaultKind, FaultRule};

use crate::cli::FaultLevel;

/// The faults of EspoCRM and of Advoware.
pub fn rules(level: FaultLevel, seed: u64) -> (Vec<FaultRule>, Vec<FaultRule>) {
    let (latency_ms, share, lost) = match level {
        FaultLevel::None => return (Vec::new(), Vec::new()),
        FaultLevel::Some => (8, 0.01, 4),
        FaultLevel::Many => (20, 0.03, 20),
    };
    let rule = FaultRule::new;
    // Single records only: a sweep that fails begins again later and later, which is right and dull to watch.
    let crm = "/api/v1/CBeteiligte/*";
    let party = "*/advonet/Beteiligte*";
    let throttled = || FaultKind::Throttled { retry_after: "1".to_owned() };
    let espocrm = vec![
        rule(FaultKind::Latency { latency_ms }),
        rule(FaultKind::CloseAfter).on("PUT", crm).times(lost),
        rule(throttled()).on("GET", crm).times(lost),
        rule(FaultKind::Status { status: 500 }).on("GET", crm).sometimes(share, seed),
        rule(FaultKind::HtmlPage).on("GET", crm).sometimes(share / 2.0, seed + 1),
    ];
    let advoware = vec![
        rule(FaultKind::Latency { latency_ms }),
        rule(FaultKind::CloseAfter).on("POST", party).times(lost),
        rule(FaultKind::CloseAfter).on("PUT", party).times(lost),
        rule(throttled()).on("GET", party).times(lost),
        rule(FaultKind::HtmlBadGateway).on("GET", party).sometimes(share, seed + 2),
        rule(FaultKind::CutBody).on("GET", party).sometimes(share / 2.0, seed + 3),
        rule(FaultKind::Status { status: 500 }).on("PUT", party).sometimes(share * 2.0, seed + 4),
    ];
    (espocrm, advoware)
}
