//! What the product can do, in numbers: `cargo xtask bench`. Prints one table and judges nothing.
//!
//! Upstream requests take 50 ms each, since real ones do. The programs are those of the release profile.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for developers"
)]

mod installation;
mod queue;
mod sweep;
mod sync;
mod table;

use table::Table;

#[tokio::main]
async fn main() {
    // `cargo test --benches` and `cargo bench -- --list` must not take minutes.
    if std::env::args().any(|arg| arg == "--list" || arg == "--test") {
        return;
    }
    let mut table = Table::default();
    sync::measure(&mut table).await;
    for has_wide_limits in [false, true] {
        sweep::measure(&mut table, has_wide_limits).await;
    }
    queue::measure(&mut table).await;
    println!("{table}");
}
