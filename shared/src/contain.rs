//! Running a flow's code so that its panic is a fault of that run and of nothing else.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use crate::fault::Fault;

/// Runs a flow's code. It is no task of its own: dropped, it has ended.
///
/// # Errors
/// [`crate::fault::FaultKind::Bug`] with the text of its panic.
pub async fn contained<T>(code: impl Future<Output = T>) -> Result<T, Fault> {
    AssertUnwindSafe(code).catch_unwind().await.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Fault::bug("panic", format!("the flow panicked: {}", text.unwrap_or("no text")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_bug_with_its_text() {
        let run = |code: std::pin::Pin<Box<dyn Future<Output = u8>>>| contained(code).now_or_never().unwrap();
        assert_eq!(run(Box::pin(async { 7 })), Ok(7));
        let fault = run(Box::pin(async { panic!("no {}", "bread") })).unwrap_err();
        assert_eq!((fault.code, fault.text.as_str()), ("panic", "the flow panicked: no bread"));
        let fault = run(Box::pin(async { panic!("plain") })).unwrap_err();
        assert_eq!(fault.text, "the flow panicked: plain");
    }
}
