//! Labelled points: named places at which the chaos suite breaks a program on purpose.
//!
//! Without the feature `labelled-points` each of them compiles to nothing. Only `system-tests` asks for the feature,
//! and `cargo xtask check` sees to it that no program as it is released has it.
//!
//! With it, what happens at a point is said by the variable `FAILPOINTS` as the crate [`fail`](https://docs.rs/fail)
//! reads it, with `return(…)` and one of these words: `kill` at [`reach`]; `panic`, `allocate` or `loop` and an id at
//! [`handle`], for one record or several (`panic:6b00,loop:6b01`); a number, or the file that it
//! stands in, at [`number`]. `3*off->1*return(kill)`
//! kills at the fourth time. What is hit adds a line with its label to the file that `hits` names
//! (`hits=return(/file)`).

#[cfg(feature = "labelled-points")]
mod armed;

/// A place between two steps: the process may be told to die here, as by SIGKILL.
#[inline]
pub fn reach(label: &'static str) {
    #[cfg(feature = "labelled-points")]
    armed::reach(label);
    #[cfg(not(feature = "labelled-points"))]
    let _ = label;
}

/// A record is about to be handled: the handler may be told to panic, to allocate without end, or to loop.
#[inline]
pub fn handle(label: &'static str, id: &str) {
    #[cfg(feature = "labelled-points")]
    armed::handle(label, id);
    #[cfg(not(feature = "labelled-points"))]
    let _ = (label, id);
}

/// A number that may be told to be another than the `usual` one; where a file was named, whatever stands in it now.
#[inline]
pub fn number(label: &'static str, usual: i64) -> i64 {
    #[cfg(feature = "labelled-points")]
    return armed::number(label, usual);
    #[cfg(not(feature = "labelled-points"))]
    {
        let _ = label;
        usual
    }
}
